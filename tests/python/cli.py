# SPDX-License-Identifier: Apache-2.0
"""The `quanto` binary, and what its tests run it on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import quanto

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

ROOT = Path(__file__).parents[2]


def _binary() -> Path | None:
    """That of QUANTO_CLI, of the environment that runs the tests, or of the build."""
    named = os.environ.get("QUANTO_CLI")
    if named is not None:
        return Path(named)
    places = (Path(sys.executable).parent / "quanto", ROOT / "build/wheel/cpp/quanto/cli/quanto")
    return next((place for place in places if place.is_file()), None)


BINARY = _binary()

needs_binary = pytest.mark.skipif(
    BINARY is None, reason="no quanto binary: set QUANTO_CLI or run make build"
)

SCHEMES = {
    "int8": ("int8", None, None),
    "float8": ("float8", None, None),
    "float8_e5m2": ("float8_e5m2", None, None),
    "int4": ("int4", None, None),
    "int4-groups": ("int4", 32, None),
    "int4-hqq": ("int4", None, "hqq"),
    "int2": ("int2", None, None),
}
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(BINARY), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, (done.args, done.stdout, done.stderr)
    if code != 0:
        assert done.stderr.startswith("quanto: ")
        assert done.stderr.count("\n") == 1, done.stderr
    return done


def save_model(folder: Path, tied: bool = False, **options: Any) -> None:
    """A tiny Llama whose sizes split into groups of 32 only, or into none."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=96,
        hidden_size=160,
        intermediate_size=99,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        attention_bias=True,
    )
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, **options)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "pytorch_model.bin").write_text("weights of another format")


def options_of(scheme: str) -> list[str]:
    weights, group_size, optimizer = SCHEMES[scheme]
    options = ["--weights", weights]
    if group_size is not None:
        options += ["--group-size", str(group_size), "--exclude", "*.down_proj"]
    if optimizer is not None:
        options += ["--optimizer", optimizer]
    return options


def quantized_in_python(folder: Path, scheme: str) -> torch.nn.Module:
    weights, group_size, optimizer = SCHEMES[scheme]
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype="auto")
    exclude = ["lm_head"] + (["*.down_proj"] if group_size is not None else [])
    chosen = None if optimizer is None else quanto.HqqOptimizer()
    quanto.quantize(model, weights, None, chosen, exclude=exclude, group_size=group_size)
    quanto.freeze(model)
    return model


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def assert_same_tensors(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype, name
        assert state[name].shape == tensor.shape, name
        assert torch.equal(as_bytes(state[name]), as_bytes(tensor)), name


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        state |= load_file(file)
    return state
