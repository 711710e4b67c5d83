"""Loading the operators, and what they say about themselves."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import quanto
from quanto import library

PACKAGE = Path(quanto.__file__).parent


def run(code: str, path: list[Path]) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a Python that looks for modules in `path` first."""
    setup = f"import sys; sys.path[:0] = {[str(entry) for entry in path]!r}\n"
    return subprocess.run(
        [sys.executable, "-c", setup + code], capture_output=True, text=True, check=False
    )


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode != 0
    return result.stderr.strip().splitlines()[-1]


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    package = tmp_path / "quanto"
    package.mkdir()
    for name in ("__init__.py", "_library.py"):
        (package / name).write_text((PACKAGE / name).read_text())
    message = last_line(run("import quanto", [tmp_path]))
    assert message.startswith("ImportError: quanto: expected the operators at ")
    assert str(package / "lib" / "libquanto.so") in message


def test_an_old_torch_is_refused() -> None:
    code = "import torch; torch.__version__ = '2.9.1+cpu'; import quanto"
    message = last_line(run(code, [PACKAGE.parent]))
    assert message == "ImportError: quanto: expected torch 2.10 or newer, got 2.9.1+cpu"


def test_the_predecessor_is_refused(tmp_path: Path) -> None:
    info = tmp_path / "optimum_quanto-0.2.7.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: optimum-quanto\nVersion: 0.2.7\n")
    message = last_line(run("import quanto", [tmp_path, PACKAGE.parent]))
    assert message.startswith("ImportError: quanto: expected optimum-quanto not to be installed")
    assert "got 0.2.7" in message


def test_an_unknown_instruction_set_is_refused() -> None:
    code = (
        "import os; os.environ['QUANTO_FORCE_ISA'] = 'mmx'\n"
        "from quanto import library\nprint(library.isa())"
    )
    message = last_line(run(code, [PACKAGE.parent]))
    assert message.startswith("ValueError: ")
    assert "mmx" in message
    assert "ref" in message


@pytest.mark.parametrize("isa", library.available_isas())
def test_the_forced_instruction_set_runs(isa: str) -> None:
    code = (
        f"import os; os.environ['QUANTO_FORCE_ISA'] = {isa!r}\n"
        "import torch; from quanto import library\n"
        "print(library.isa(), *library.plan(torch.float32, 'qint8', 1, 64, 64, None, 'none'))"
    )
    result = run(code, [PACKAGE.parent])
    assert result.returncode == 0, result.stderr
    used, _, planned = result.stdout.split()
    assert used == planned == isa


def test_ref_is_always_there() -> None:
    assert library.available_isas()[-1] == "ref"
    assert library.isa() in library.available_isas()


@pytest.mark.parametrize("qtype", ["qint8", "qint4", "qint2", "qfloat8_e5m2"])
@pytest.mark.parametrize("rows", [1, 128])
def test_plan_names_a_kernel(qtype: str, rows: int) -> None:
    shift = "none" if quanto.qtypes[qtype].bits == 8 else "float"
    name, isa = library.plan(torch.bfloat16, qtype, rows, 1024, 1024, None, shift)
    assert name
    assert isa == library.isa()


def test_plan_of_convolutions() -> None:
    def kernel(dtype: torch.dtype, pixels: int, size: tuple[int, ...], groups: int) -> str:
        name, isa = library.plan_conv2d(dtype, "qint8", pixels, size, (1, 1), groups, None, "none")
        assert isa == library.isa()
        return name

    assert kernel(torch.float32, 784, (32, 1, 3, 3), 32) == "conv_planes"
    tiles = kernel(torch.bfloat16, 784, (64, 64, 3, 3), 1)
    assert (tiles == "conv_tiles") == (library.isa() == "amx_bf16")
    patches = library.plan(torch.bfloat16, "qint8", 4, 576, 64, None, "none")[0]
    assert kernel(torch.bfloat16, 4, (64, 64, 3, 3), 1) == patches


@pytest.mark.parametrize("activation", [torch.int8, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("rows", [1, 128])
def test_plan_of_quantized_activations(activation: torch.dtype, rows: int) -> None:
    name, isa = library.plan(activation, "qint8", rows, 1024, 1024, None, "none")
    assert name
    assert isa == library.isa()


@pytest.mark.parametrize(
    ("elements", "size"),
    [(128, None), (160, 32), (172, None), (192, 96), (256, 128), (576, 96), (1024, 128)],
)
def test_automatic_group_size(elements: int, size: int | None) -> None:
    assert library.automatic_group_size(elements) == size
