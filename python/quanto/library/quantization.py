# SPDX-License-Identifier: Apache-2.0
"""Scales, codes and packing."""

import torch

from ._call import BYTES, FLOAT, SHIFT, UINT8, pair, tensor


def quantize_symmetric(
    base: torch.Tensor, dtype: torch.dtype, axis: int | None, scale: torch.Tensor
) -> torch.Tensor:
    """Codes `base / scale` of `dtype` (int8 or float8), in base's shape.

    Rounded half to even and clamped to the dtype's range; 0 under a zero scale. `scale` has base's
    dtype: 0-d for the whole tensor (`axis=None`), else one per index of the first or last axis.
    """
    op = torch.ops.quanto.quantize_symmetric.default
    expected = ((base, FLOAT), (dtype, BYTES), (scale, FLOAT))
    return tensor(op, base, dtype, axis, scale, expected=expected)


def quantize_affine(
    base: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    scale: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    """Unpacked uint8 codes of 2 or 4 bits, `(rows, group_size)` or `(group_size, rows)`.

    Float shift: `round((base + shift) / scale)`; zero points (uint8, or int8 from 0):
    `round(base / scale) + shift`. Without groups they have base's shape.
    """
    op = torch.ops.quanto.quantize_affine.default
    expected = ((base, FLOAT), (scale, FLOAT), (shift, SHIFT | {torch.int8}))
    return tensor(op, base, bits, axis, group_size, scale, shift, expected=expected)


def pack(self: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack uint8 codes `(rows, ...)` into `(ceil(rows * bits / 8), ...)` bytes.

    Codes of R packed rows apart share a byte, the first in its low bits.
    """
    return tensor(torch.ops.quanto.pack.default, self, bits, expected=((self, UINT8),))


def unpack(self: torch.Tensor, bits: int) -> torch.Tensor:
    """Undo `pack`: `(packed rows * 8 / bits, ...)`, rows of padding included."""
    return tensor(torch.ops.quanto.unpack.default, self, bits, expected=((self, UINT8),))


def dequantize_symmetric(data: torch.Tensor, axis: int | None, scale: torch.Tensor) -> torch.Tensor:
    """`scale * data` in scale's dtype and data's shape."""
    op = torch.ops.quanto.dequantize_symmetric.default
    return tensor(op, data, axis, scale, expected=((data, BYTES), (scale, FLOAT)))


def dequantize_affine(
    data: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    size: list[int],
    scale: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    """The float weight of shape `size`, in scale's dtype, from packed codes."""
    op = torch.ops.quanto.dequantize_affine.default
    expected = ((data, UINT8), (scale, FLOAT), (shift, SHIFT))
    return tensor(op, data, bits, axis, group_size, size, scale, shift, expected=expected)


def absmax_scale(base: torch.Tensor, qtype: str, axis: int | None) -> torch.Tensor:
    """Largest `|base|` divided by the largest code of the named type, in base's dtype.

    0-d for `axis=None`, else with kept dimensions, per index of axis 0 or -1. Raises ValueError if
    base holds a value that is not finite.
    """
    op = torch.ops.quanto.absmax_scale.default
    return tensor(op, base, qtype, axis, expected=((base, FLOAT),))


def max_scale(
    base: torch.Tensor, bits: int, axis: int, group_size: int | None, zeropoint: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift of each group from its range: `(max - min) / (2^bits - 1)`, `-min`.

    With `zeropoint` the shift is the code of zero, uint8. Raises ValueError if base holds a value
    that is not finite.
    """
    op = torch.ops.quanto.max_scale.default
    return pair(op, base, bits, axis, group_size, zeropoint, expected=((base, FLOAT),))


def hqq_scale(
    base: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    zeropoint: bool = False,
    lp_norm: float = 0.7,
    beta: float = 10.0,
    kappa: float = 1.01,
    iters: int = 20,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`max_scale` with the shift refined by half-quadratic quantization (Badri and Shaji, 2023).

    Stops at the first iteration that does not lower the mean absolute error of the whole tensor.
    """
    op = torch.ops.quanto.hqq_scale.default
    options = (zeropoint, lp_norm, beta, kappa, iters)
    return pair(op, base, bits, axis, group_size, *options, expected=((base, FLOAT),))


def moving_absmax_scale(
    scale: torch.Tensor, base: torch.Tensor, qtype: str, momentum: float
) -> torch.Tensor:
    """The next value of a 0-d scale under calibration, in scale's dtype.

    `absmax_scale(base, qtype, None)` while scale is 1, then
    `momentum * scale + (1 - momentum)` times that. An empty base leaves it as it is.
    """
    op = torch.ops.quanto.moving_absmax_scale.default
    return tensor(op, scale, base, qtype, momentum, expected=((scale, FLOAT), (base, FLOAT)))
