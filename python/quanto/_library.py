# SPDX-License-Identifier: Apache-2.0
"""Loads libquanto.so, which registers ``torch.ops.quanto``, once per process.

Whatever stands in the way is one clear line at import: nothing is compiled or
downloaded to mend it.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import torch

_LIBRARY = Path(__file__).parent / "lib" / "libquanto.so"
_MIN_TORCH = (2, 10)


def _check_torch() -> None:
    found = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if found < _MIN_TORCH:
        raise ImportError(
            f"quanto: expected torch {_MIN_TORCH[0]}.{_MIN_TORCH[1]} or newer, "
            f"got {torch.__version__}"
        )


def _check_predecessor() -> None:
    try:
        version = importlib.metadata.version("optimum-quanto")
    except importlib.metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"quanto: expected optimum-quanto not to be installed, got {version}: both own "
        "torch.ops.quanto and optimum/quanto (pip uninstall optimum-quanto)"
    )


def load() -> None:
    """Load the operators. Raises ImportError when this installation cannot run them."""
    _check_torch()
    _check_predecessor()
    if not _LIBRARY.is_file():
        raise ImportError(
            f"quanto: expected the operators at {_LIBRARY}, got no such file "
            "(in a checkout, build them first: make build)"
        )
    torch.ops.load_library(str(_LIBRARY))  # type: ignore[no-untyped-call]


load()
