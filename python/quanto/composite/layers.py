# SPDX-License-Identifier: Apache-2.0
"""Layers with a quantized weight as plain torch operations; the weight is dequantized whole."""

import math
from collections.abc import Sequence

import torch

from .quantization import dequantize_affine, dequantize_symmetric, quantize_symmetric


def _dense(
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    size: Sequence[int],
) -> torch.Tensor:
    """The weight of shape `size` and axis 0, in scale's dtype."""
    elements = math.prod(size[1:])
    if shift is None:
        rows = data.reshape(size[0], elements)
        return dequantize_symmetric(rows, None, scale.reshape(-1, 1)).reshape(size)
    data = data.reshape(-1, elements if group_size is None else group_size)
    scale, shift = scale.reshape(-1, 1), shift.reshape(-1, 1)
    return dequantize_affine(data, bits, 0, group_size, (size[0], elements), scale, shift).reshape(
        size
    )


def _dynamic_codes(base: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of each row of a matrix with a float32 scale for each, `(rows, 1)`."""
    base = base.float()
    largest = torch.finfo(dtype).max if dtype.is_floating_point else torch.iinfo(dtype).max
    if base.shape[1] == 0:
        scale = base.new_zeros(base.shape[0], 1)
    else:
        scale = base.abs().amax(1, keepdim=True) / largest
    return quantize_symmetric(base, dtype, 0, scale), scale


def _codes(
    input: torch.Tensor, input_scale: torch.Tensor | None, dtype: torch.dtype, rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of `input` as float32, and their scale: 0-d, or one for each of the first `rows`."""
    if input.dtype == dtype:
        if input_scale is None:
            raise ValueError("composite: expected an input_scale with codes as input, got none")
        return input.float(), input_scale.float()
    if input_scale is None:
        codes, scale = _dynamic_codes(input.reshape(rows, input.numel() // max(rows, 1)), dtype)
        return codes.float().reshape(input.shape), scale
    scale = input_scale.to(input.device, input.dtype)
    return quantize_symmetric(input, dtype, None, scale).float(), scale.float()


def _output(
    result: torch.Tensor, dtype: torch.dtype, codes: torch.dtype, scale: torch.Tensor | None
) -> torch.Tensor:
    """`result` in `dtype`, or codes under a scale."""
    result = result.to(dtype)
    if scale is None:
        return result
    return quantize_symmetric(result, codes, None, scale.to(result.device, dtype))


def linear(
    input: torch.Tensor,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    bits: int = 8,
    group_size: int | None = None,
    out_features: int | None = None,
) -> torch.Tensor:
    """See `quanto.library.linear`; what is left out is as in the schema."""
    if out_features is None:
        out_features = data.shape[0]
    size = (out_features, input.shape[-1])
    weight = _dense(data, scale, shift, bits, group_size, size)
    return torch.nn.functional.linear(input, weight.to(input.dtype), bias)


def qlinear(
    input: torch.Tensor,
    input_scale: torch.Tensor | None,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bias: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    out_features: int,
    activation: torch.dtype,
    output_scale: torch.Tensor | None,
) -> torch.Tensor:
    """See `quanto.library.qlinear`."""
    dtype = scale.dtype if input.dtype == activation else input.dtype
    columns = input.shape[-1]
    weight = _dense(data, scale, shift, bits, group_size, (out_features, columns))
    rows = math.prod(input.shape[:-1])
    codes, code_scale = _codes(input, input_scale, activation, rows)
    product = codes.reshape(rows, columns) @ weight.float().t() * code_scale
    result = product if bias is None else product + bias.float()
    result = result.reshape(*input.shape[:-1], out_features)
    return _output(result, dtype, activation, output_scale)


def conv2d(
    input: torch.Tensor,
    input_scale: torch.Tensor | None,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bias: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    activation: torch.dtype | None,
    output_scale: torch.Tensor | None,
) -> torch.Tensor:
    """See `quanto.library.conv2d`."""
    weight = _dense(data, scale, shift, bits, group_size, size)
    geometry = (stride, padding, dilation, groups)
    if activation is None:
        result = torch.nn.functional.conv2d(input, weight.to(input.dtype), bias, *geometry)
        return result.contiguous()
    dtype = scale.dtype if input.dtype == activation else input.dtype
    images = input.shape[0] if input.dim() == 4 else 1
    codes, code_scale = _codes(input, input_scale, activation, images)
    product = torch.nn.functional.conv2d(codes, weight.float(), None, *geometry)
    result = product * (code_scale if code_scale.dim() == 0 else code_scale.reshape(-1, 1, 1, 1))
    if bias is not None:
        result = result + bias.float().reshape(-1, 1, 1)
    return _output(result.reshape(product.shape), dtype, activation, output_scale).contiguous()


def embedding(
    indices: torch.Tensor,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    num_embeddings: int,
    embedding_dim: int,
) -> torch.Tensor:
    """See `quanto.library.embedding`."""
    outside = torch.logical_or(indices < 0, indices >= num_embeddings)
    if outside.any():
        got = indices[outside][0].item()
        raise IndexError(f"embedding: expected indices in [0, {num_embeddings}), got {got}")
    index = indices.reshape(-1).long()
    if shift is None:
        scales = scale.reshape(-1, 1)
        weight = dequantize_symmetric(
            data[index], None, scales[index] if len(scales) > 1 else scales
        )
        return weight.reshape(*indices.shape, embedding_dim)
    columns = embedding_dim if group_size is None else group_size
    groups = embedding_dim // max(columns, 1)
    rows = (index[:, None] * groups + torch.arange(groups, device=index.device)).reshape(-1)
    packed = data.reshape(-1, columns)
    planes = packed.shape[0]
    places = (rows // max(planes, 1) * bits).to(torch.uint8)[:, None]
    codes: torch.Tensor = ((packed[rows % max(planes, 1)] >> places) & (2**bits - 1)).to(
        scale.dtype
    )
    scales, shifts = scale.reshape(-1, 1)[rows], shift.reshape(-1, 1)[rows]
    if shift.dtype.is_floating_point:
        weight = codes * scales - shifts
    else:
        weight = (codes - shifts.to(scale.dtype)) * scales
    return weight.reshape(*indices.shape, embedding_dim)


def qbytes_mm(A: torch.Tensor, B: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """See `quanto.library.qbytes_mm`."""
    dtype = A.dtype if A.dtype in (torch.float32, torch.float16, torch.bfloat16) else scales.dtype
    if dtype == A.dtype:
        return linear(A, B, scales, None, None, 8, None, B.shape[0])
    product = A.float() @ B.float().t()
    return (product * scales.float().reshape(1, -1)).to(dtype)
