# SPDX-License-Identifier: Apache-2.0
"""The float values that a layer computed with, for its backward pass."""

import math
from collections.abc import Sequence

import torch

from .. import _library  # noqa: F401  (registers the operators)
from ..qtype import qtypes

_NAMES = {qtype.dtype: qtype.name for qtype in qtypes.values() if qtype.bits == 8}


def dense_weight(
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    size: Sequence[int],
) -> torch.Tensor:
    """The float weight of shape `size` and axis 0, in scale's dtype."""
    ops = torch.ops.quanto
    elements = math.prod(size[1:])
    rows = (size[0], elements)
    if shift is None:
        axis = None if scale.numel() == 1 else 0
        scale = scale.reshape(()) if axis is None else scale.reshape(-1, 1)
        weight: torch.Tensor = ops.dequantize_symmetric(data.reshape(rows), axis, scale)
    else:
        data = data.reshape(-1, group_size or elements)
        scale, shift = scale.reshape(-1, 1), shift.reshape(-1, 1)
        weight = ops.dequantize_affine(data, bits, 0, group_size, rows, scale, shift)
    return weight.reshape(size)


def dense_input(
    input: torch.Tensor, input_scale: torch.Tensor | None, activation: torch.dtype, rows: int
) -> torch.Tensor:
    """The dequantized codes of `input`: codes already, or quantized as `qlinear` does.

    Without a scale each of the first `rows` of a float input has its own.
    """
    ops = torch.ops.quanto
    result: torch.Tensor
    if input.dtype == activation:
        if input_scale is None:
            raise ValueError("dense_input: expected an input_scale with codes, got none")
        result = ops.dequantize_symmetric(input, None, input_scale.reshape(()))
        return result
    if input_scale is not None:
        scale = input_scale.to(input.device, input.dtype)
        codes = ops.quantize_symmetric(input, activation, None, scale)
        result = ops.dequantize_symmetric(codes, None, scale)
        return result
    if input.numel() == 0:
        return input
    base = input.float().reshape(rows, -1)
    axis = None if rows == 1 else 0  # one index is quantized per tensor
    scale = ops.absmax_scale(base, _NAMES[activation], axis)
    codes = ops.quantize_symmetric(base, activation, axis, scale)
    result = ops.dequantize_symmetric(codes, axis, scale)
    return result.reshape(input.shape)
