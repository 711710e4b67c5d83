"""The demo on the bundled model, end to end, and what the tiny model cannot show."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import quanto

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(quanto.__file__).parents[1]),
    "HF_HUB_OFFLINE": "1",
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.demo", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    pytest.importorskip("matplotlib")
    output = tmp_path_factory.mktemp("demo")
    once = ["--rounds", "1", "--tokens", "2", "--prompt", "16", "--windows", "20"]
    result = run("--model", "tiny", "--check", "--output", str(output), *once)
    assert result.returncode == 0, result.stderr
    return result.stdout, output / "tiny"


def test_tiny_demo_passes_its_checks(demo):
    printed, _ = demo
    assert "bytes, reloads and perplexities are as they must be" in printed
    assert "the logits are identical" in printed


def test_tiny_demo_reports_every_scheme_in_every_dtype(demo):
    _, output = demo
    rows = json.loads((output / "results.json").read_text())["rows"]
    schemes = ["float", "int8", "float8", "int4", "int4 HQQ", "int2"]
    assert [(row["dtype"], row["scheme"]) for row in rows] == [
        (dtype, scheme) for dtype in ("float32", "bfloat16") for scheme in schemes
    ]
    assert all(row["decode"] and row["prefill"] for row in rows)
    assert (output / "report.md").read_text().count("not usable by min-max") == 2


def test_tiny_demo_draws_a_chart(demo):
    _, output = demo
    assert (output / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_saved_model_holds_packed_weights(demo):
    from safetensors.torch import load_file

    _, output = demo
    tensors = load_file(output / "int4" / "model.safetensors")
    packed = tensors["model.layers.0.mlp.down_proj.weight._data._data"]
    assert packed.dtype is torch.uint8
    assert packed.shape == (32, 172)
    assert "lm_head.weight" not in tensors


def test_unknown_model_is_one_clear_line(tmp_path):
    result = run("--model", str(tmp_path / "nothing"), "--output", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("demo: expected smollm2, tiny or a directory")


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_a_process_gives_back_what_the_formula_says(tmp_path, scheme):
    transformers = pytest.importorskip("transformers")
    sys.path.insert(0, str(REPOSITORY))
    from examples.demo import footprint, measure
    from examples.demo.check import PROCESS_SAVING
    from examples.demo.schemes import scheme as scheme_of

    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=1024, intermediate_size=2816, num_hidden_layers=2
    )
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    shapes = measure.linear_shapes(model, names)
    saved = sum(4 * outputs * inputs for outputs, inputs in shapes) - measure.formula_bytes(
        shapes, scheme_of(scheme).qtype.bits, torch.float32
    )
    assert saved >= footprint.MEASURABLE
    (line,) = footprint.measure(tmp_path, torch.float32, [scheme])
    assert line["before"] - line["after"] == pytest.approx(saved, rel=PROCESS_SAVING)
