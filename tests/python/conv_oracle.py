# SPDX-License-Identifier: Apache-2.0
"""The exact output of a quantized convolution, and how far any library's may be from it."""

import torch
from tolerances import lost_by_dense_weights, sum_bound
from torch.nn import functional as F

import quanto


def magnitudes(weight: torch.Tensor) -> torch.Tensor:
    """|scale * q| + |shift|: what the library rounds to its dtype before it multiplies."""
    values = weight.dequantize().double()
    if weight.qtype.bits == 8:
        return values.abs()
    shift = weight._shift.double().flatten()
    shifts = shift.repeat_interleave(values.numel() // shift.numel()).view(values.shape)
    return (values + shifts).abs() + shifts.abs()


def convolved(
    layer: quanto.QConv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """torch's convolution of the layer's geometry."""
    padding = layer.padding
    if layer.padding_mode != "zeros":
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
        padding = 0
    return F.conv2d(x, weight, bias, layer.stride, padding, layer.dilation, layer.groups)


def expected(layer: quanto.QConv2d, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and bound, in float64, of an input of plain values (those of its codes)."""
    weight = layer.qweight.detach()
    bias = None if layer.bias is None else layer.bias.detach().double()
    exact = convolved(layer, x.double(), weight.dequantize().double(), bias)
    absolute = None if bias is None else bias.abs()
    terms = convolved(layer, x.double().abs(), magnitudes(weight), absolute)
    bound = sum_bound(exact, terms, weight[0].numel(), weight.dtype)
    return exact, bound + lost_by_dense_weights(terms, weight.dtype)
