# SPDX-License-Identifier: Apache-2.0
"""Packages run in a C++ program without Python and compute what the model computes."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from deploy_models import FEATURES, LARGE, Zoo, inputs, zoo
from deployment import ROOT, launch, run
from frozen_models import inner_tensors
from tolerances import MODEL_ERROR, PACKAGE_CODE_BYTES
from torch import nn

sys.path.insert(0, str(ROOT))

from examples.cpp.deploy.export import package, quantized
from examples.cpp.deploy.model import Encoder

FAST_COMPILE = {"aot_inductor.compile_wrapper_opt_level": "O0"}


class Both(nn.Module):
    """Every scheme in two float types."""

    def __init__(self) -> None:
        super().__init__()
        self.in_float32, self.in_bfloat16 = zoo(torch.float32), zoo(torch.bfloat16)

    def forward(
        self, x: torch.Tensor, ids: torch.Tensor, image: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        single = self.in_float32(x, ids, image)
        return (*single, *self.in_bfloat16(x.bfloat16(), ids, image.bfloat16()))


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Both, Path]:
    model, path = Both().eval(), tmp_path_factory.mktemp("deploy") / "model.pt2"
    package(model, inputs(4), path, **FAST_COMPILE)
    return model, path


def parts_of(zoos: Both) -> list[str]:
    def names(model: Zoo, kind: str) -> list[str]:
        return [f"{kind} {name}" for name in model.parts]

    return names(zoos.in_float32, "float32") + names(zoos.in_bfloat16, "bfloat16")


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_every_scheme_computes_the_same_bits(
    packaged: tuple[Both, Path], rows: int, tmp_path: Path
) -> None:
    model, path = packaged
    results = run(path, inputs(rows), tmp_path)
    with torch.no_grad():
        expected = model(*inputs(rows))
    for name, mine, theirs in zip(parts_of(model), results, expected, strict=True):
        assert torch.equal(mine, theirs), name


def test_the_process_loads_no_python(packaged: tuple[Both, Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(packaged[1], inputs(1), tmp_path, LD_DEBUG="files", LD_DEBUG_OUTPUT=str(log))
    text = "".join(file.read_text() for file in tmp_path.glob("log.*"))
    loaded = {Path(name).name for name in re.findall(r"calling init: (\S+)", text)}
    assert {"libquanto.so", "libtorch_cpu.so"} <= loaded
    assert any(name.endswith(".wrapper.so") for name in loaded)
    assert not [name for name in loaded if "python" in name]


def test_the_package_holds_codes_and_nothing_dense(packaged: tuple[Both, Path]) -> None:
    model, path = packaged
    stored = sum(tensor.nbytes for tensor in model.state_dict().values())
    size = path.stat().st_size
    assert stored < size < stored + PACKAGE_CODE_BYTES
    layer = model.in_float32.parts["large"][0]
    assert sum(tensor.nbytes for tensor in inner_tensors(layer).values()) < stored
    assert FEATURES * LARGE * layer.weight.dtype.itemsize > size


def dense(model: nn.Module) -> nn.Module:
    """The encoder in float64 with the values of the quantized weights."""
    twin = Encoder().double().eval()
    for name, parameter in twin.named_parameters():
        value = model.get_parameter(name)
        parameter.data = (value.dequantize() if hasattr(value, "qtype") else value).data.double()
    return twin


def test_the_example(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.cpp.deploy.export", tmp_path / "example"]
    portable = ["--portable"] if platform.machine() == "x86_64" else []
    done = subprocess.run([*command, *portable], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "model.pt2" in done.stdout

    folder = tmp_path / "example"
    printed = launch([folder / "model.pt2", folder / "inputs.pt", folder / "got.pt", "3"])
    assert printed.returncode == 0, printed.stderr
    assert re.fullmatch(r"output Float \[8, 128\]\n[0-9.]+ ms, median of 3 runs\n", printed.stdout)
    (ids,), (eager,) = torch.load(folder / "inputs.pt"), torch.load(folder / "outputs.pt")
    (result,) = torch.load(folder / "got.pt")
    with torch.no_grad():
        exact = dense(quantized("int4", None, False))(ids)
    error = (eager - exact).abs().max()
    assert error > 0
    assert (result - exact).abs().max() <= MODEL_ERROR * error


def test_failures_are_one_line(tmp_path: Path) -> None:
    assert launch([]).returncode == 2
    missing = launch([tmp_path / "none.pt2", tmp_path / "none.pt", tmp_path / "out.pt"])
    assert missing.returncode == 1
    assert missing.stderr.count("\n") == 1
    assert not (tmp_path / "out.pt").exists()


def test_the_page_shows_the_example() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    for language, name in (("cpp", "run.cc"), ("cmake", "CMakeLists.txt")):
        source = (ROOT / "examples" / "cpp" / "deploy" / name).read_text().splitlines()
        blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
        assert len(blocks) == 1
        assert [line for line in blocks[0].splitlines() if line not in source] == []
