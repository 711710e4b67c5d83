"""Helper modules of the tests stand beside them; the header says what the run ran on."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))


def pytest_report_header() -> str:
    """Instruction sets and devices of this run."""
    import quanto  # noqa: F401  (registers the operators)

    device = "cpu, cuda" if torch.cuda.is_available() else "cpu"
    isas = f"{torch.ops.quanto.isa()} in use, of {torch.ops.quanto.available_isas()}"
    return f"quanto: kernels {isas}; torch {torch.__version__}; device {device}"
