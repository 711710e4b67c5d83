# SPDX-License-Identifier: Apache-2.0
"""Layers with a quantized weight."""

from collections.abc import Sequence

import torch

from ._call import BYTES, FLOAT, INDICES, SHIFT, UINT8, tensor


def linear(
    input: torch.Tensor,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bias: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    out_features: int,
) -> torch.Tensor:
    """`input (..., K)` times a quantized weight `(out_features, K)` of axis 0, plus bias.

    8 bits: `data` is `(out_features, K)`, `scale` has 1 or out_features elements. 4 and 2 bits:
    packed `data`, `scale` and `shift` of `out_features * K / group_size` elements. `bias` has
    input's dtype, scale (and a float shift) any float one. The result has input's dtype.
    """
    op = torch.ops.quanto.linear.default
    expected = (
        (input, FLOAT),
        (data, BYTES if bits == 8 else UINT8),
        (scale, FLOAT),
        (shift, SHIFT),
        (bias, frozenset({input.dtype})),
    )
    args = (input, data, scale, shift, bias, bits, group_size, out_features)
    return tensor(op, *args, expected=expected)


def qbytes_mm(A: torch.Tensor, B: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """`A (..., K)` times `(scales * B)^T`, B `(N, K)` int8 or float8, scales of 1 or N elements.

    A is a float, int8 or float8 tensor; the result has A's dtype if that is a float one, else that
    of scales.
    """
    op = torch.ops.quanto.qbytes_mm.default
    expected = ((A, FLOAT | BYTES), (B, BYTES), (scales, FLOAT))
    return tensor(op, A, B, scales, expected=expected)


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
    output_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """`linear` with activations quantized to `activation`, int8 or a float8 type.

    A float `input` is quantized inside: by the 0-d `input_scale`, rounded to input's dtype, as
    `quantize_symmetric` does, or, with None, row by row with the scale `max |row| / largest code`
    in float32. An `input` of dtype `activation` is codes under `input_scale`.

    The result is float, in input's dtype if that is one and in scale's otherwise, which is bias's
    too; with a 0-d `output_scale` it is the codes that `quantize_symmetric` makes of that.
    """
    op = torch.ops.quanto.qlinear.default
    codes = frozenset({activation})
    dtype = scale.dtype if input.dtype in codes else input.dtype
    expected = (
        (activation, BYTES),
        (input, FLOAT | codes),
        (input_scale, FLOAT),
        (data, BYTES if bits == 8 else UINT8),
        (scale, FLOAT),
        (shift, SHIFT),
        (bias, frozenset({dtype})),
        (output_scale, FLOAT),
    )
    weight = (data, scale, shift, bias, bits, group_size, out_features)
    return tensor(op, input, input_scale, *weight, activation, output_scale, expected=expected)


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
    activation: torch.dtype | None = None,
    output_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """Convolution of `input (N, C, H, W)` or `(C, H, W)` with a quantized weight of axis 0.

    The weight has shape `size`, `(O, C / groups, kh, kw)`; its tensors are as for `linear`, with
    `O` outputs of `C / groups * kh * kw` elements. The padding is of zeros, `stride`, `padding`
    and `dilation` are pairs. With `activation` None, input and result are float, in input's dtype;
    else activations are as for `qlinear`, with a scale per image where `input_scale` is None.
    """
    op = torch.ops.quanto.conv2d.default
    codes = frozenset() if activation is None else frozenset({activation})
    dtype = scale.dtype if input.dtype in codes else input.dtype
    expected = (
        (activation, BYTES),
        (input, FLOAT | codes),
        (input_scale, FLOAT),
        (data, BYTES if bits == 8 else UINT8),
        (scale, FLOAT),
        (shift, SHIFT),
        (bias, frozenset({dtype})),
        (output_scale, FLOAT),
    )
    weight = (data, scale, shift, bias, bits, group_size)
    geometry = (list(size), list(stride), list(padding), list(dilation), groups)
    args = (input, input_scale, *weight, *geometry, activation, output_scale)
    return tensor(op, *args, expected=expected)


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
    """Rows of a quantized weight `(num_embeddings, embedding_dim)` of axis 0, in scale's dtype.

    `indices` are int64 or int32, of any shape; the result has one dimension more. Only the rows
    asked for are decoded. Raises IndexError for an index that is out of range.
    """
    op = torch.ops.quanto.embedding.default
    expected = (
        (indices, INDICES),
        (data, BYTES if bits == 8 else UINT8),
        (scale, FLOAT),
        (shift, SHIFT),
    )
    weight = (data, scale, shift, bits, group_size, num_embeddings, embedding_dim)
    return tensor(op, indices, *weight, expected=expected)
