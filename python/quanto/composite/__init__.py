# SPDX-License-Identifier: Apache-2.0
"""The operators as plain torch operations, for every device that has no kernel of its own.

The only arithmetic in Python: the CPU kernels compute the same functions and are tested against
these. `_register` runs them without gradients, whatever their inputs, as kernels do.
"""

from collections.abc import Callable
from typing import Any

import torch

from .layers import conv2d, embedding, linear, qbytes_mm, qlinear
from .quantization import (
    absmax_scale,
    dequantize_affine,
    dequantize_symmetric,
    hqq_scale,
    max_scale,
    moving_absmax_scale,
    pack,
    quantize_affine,
    quantize_symmetric,
    unpack,
)

_COMPOSITES: tuple[Callable[..., Any], ...] = (
    quantize_symmetric,
    quantize_affine,
    pack,
    unpack,
    dequantize_symmetric,
    dequantize_affine,
    absmax_scale,
    moving_absmax_scale,
    max_scale,
    hqq_scale,
    linear,
    qlinear,
    conv2d,
    embedding,
    qbytes_mm,
)


def _without_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a kernel: torch records the operations of a composite otherwise."""

    def kernel(*args: Any) -> Any:
        with torch.no_grad():
            return function(*args)

    return kernel


def _register() -> torch.library.Library:
    """Registers every composite; they apply where a device has no kernel, so never on the CPU."""
    library = torch.library.Library("quanto", "IMPL")  # type: ignore[no-untyped-call]
    for function in _COMPOSITES:
        kernel = _without_gradient(function)
        library.impl(function.__name__, kernel, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    return library


_registered = _register()
