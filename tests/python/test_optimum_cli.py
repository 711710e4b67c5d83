# SPDX-License-Identifier: Apache-2.0
"""`optimum-cli quanto quantize`, run by optimum's own command line."""

import importlib.util
import subprocess
import sys

import pytest
import torch
from checkpoints import FLOAT

import quanto


def _has_optimum() -> bool:
    try:
        return importlib.util.find_spec("optimum.commands.optimum_cli") is not None
    except ModuleNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not _has_optimum(), reason="optimum 2 is not installed")


def run(*arguments):
    command = [sys.executable, "-m", "optimum.commands.optimum_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_is_found():
    shown = run("quanto", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "quantize" in shown.stdout
    options = run("quanto", "quantize", "--help").stdout
    for option in ("--model", "--weights", "--revision", "--trust_remote_code", "--library"):
        assert option in options
    for option in ("--task", "--torch_dtype", "--device", "output"):
        assert option in options


def test_registering_does_not_import_torch():
    code = (
        "import sys, optimum.commands.base\n"
        "before = set(sys.modules)\n"
        "import optimum.commands.register.quanto\n"
        "print(sorted({'torch', 'quanto'} & (set(sys.modules) - before)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_quantizes_a_directory(weights, tmp_path):
    options = [] if weights == "int8" else ["--weights", weights, "--torch_dtype", "bf16"]
    done = run("quanto", "quantize", "-m", FLOAT, *options, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    model = quanto.QuantizedModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.lm_head.weight_qtype is quanto.qtypes[f"q{weights}"]
    assert model.lm_head.weight.dtype == (torch.float32 if weights == "int8" else torch.bfloat16)
    with torch.no_grad():
        assert torch.isfinite(model(torch.arange(4)[None]).logits).all()


def test_by_task(tmp_path):
    done = run("quanto", "quantize", "-m", FLOAT, "--task", "text-generation", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "quanto_qmap.json").is_file()


def test_bad_arguments(tmp_path):
    assert (
        "invalid choice: 'int3'"
        in run("quanto", "quantize", "-m", FLOAT, "--weights", "int3", tmp_path).stderr
    )
    assert "required" in run("quanto", "quantize", tmp_path).stderr
    assert run("quanto", "quantize", "-m", tmp_path, tmp_path / "out").returncode != 0
