"""Helper modules of the tests stand beside them; the header says what the run ran on."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


def pytest_report_header() -> str:
    """Instruction sets and devices of this run."""
    import quanto  # noqa: F401  (registers the operators)

    device = "cpu, cuda" if torch.cuda.is_available() else "cpu"
    isas = f"{torch.ops.quanto.isa()} in use, of {torch.ops.quanto.available_isas()}"
    return f"quanto: kernels {isas}; torch {torch.__version__}; device {device}"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small language model as transformers saves it."""
    from cli import save_model

    folder = tmp_path_factory.mktemp("cli") / "float"
    save_model(folder)
    return folder


@pytest.fixture(scope="session")
def sharded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in several files."""
    from cli import save_model

    folder = tmp_path_factory.mktemp("cli") / "sharded"
    save_model(folder, max_shard_size="150KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    return folder
