# SPDX-License-Identifier: Apache-2.0
"""Convolutions with a quantized weight."""

from collections.abc import Sequence
from typing import Any

import torch

from ._dense import dense_input, dense_weight


class Conv2dFunction(torch.autograd.Function):
    """`quanto::conv2d` with gradients for input, bias and, straight through, the float weight."""

    @staticmethod
    def forward(
        ctx: Any,
        source: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        codes: torch.Tensor | None,
        input_scale: torch.Tensor | None,
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor | None,
        bits: int,
        group_size: int | None,
        size: list[int],
        geometry: tuple[list[int], list[int], list[int], int],
        activation: torch.dtype | None,
    ) -> torch.Tensor:
        """One operator call, on `codes`, or on `source` where there are none."""
        input = source if codes is None else codes
        kept = input if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(kept, input_scale, data, scale, shift)
        ctx.packing, ctx.geometry = (bits, group_size, size), geometry
        ctx.shape, ctx.activation = input.shape, activation
        weights = (data, scale, shift, bias, bits, group_size, size)
        result: torch.Tensor = torch.ops.quanto.conv2d(
            input, input_scale, *weights, *geometry, activation, None
        )
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients for `source`, `weight` and `bias`."""
        input, input_scale, data, scale, shift = ctx.saved_tensors
        shape = ctx.shape if len(ctx.shape) == 4 else (1, *ctx.shape)
        images = grad.reshape(shape[0], *grad.shape[-3:])
        if not ctx.needs_input_grad[1]:  # only the input's shape is looked at
            x = grad.new_empty(1).expand(shape)
        elif ctx.activation is None:
            x = input.reshape(shape)
        else:
            x = dense_input(input, input_scale, ctx.activation, shape[0]).reshape(shape)
        weight = dense_weight(data, scale, shift, *ctx.packing).to(grad.dtype)
        stride, padding, dilation, groups = ctx.geometry
        grad_input, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            images,
            x.to(grad.dtype),
            weight,
            [weight.shape[0]],
            stride,
            padding,
            dilation,
            False,  # not transposed, so there is no output padding either
            [0, 0],
            groups,
            list(ctx.needs_input_grad[:3]),
        )
        if grad_input is not None:
            grad_input = grad_input.reshape(ctx.shape)
        return grad_input, grad_weight, grad_bias, *(None,) * 10


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
    *,
    weight: torch.Tensor | None = None,
    source: torch.Tensor | None = None,
) -> torch.Tensor:
    """`quanto.library.conv2d` with a float result, differentiable in input and bias.

    `weight`, of shape `size`, and `source` receive gradients as those of `qlinear` do.
    """
    codes = None if source is None else input
    weights = (data, scale, shift, bits, group_size, list(size))
    geometry = (list(stride), list(padding), list(dilation), groups)
    result: torch.Tensor = Conv2dFunction.apply(  # type: ignore[no-untyped-call]
        input if source is None else source,
        weight,
        bias,
        codes,
        input_scale,
        *weights,
        geometry,
        activation,
    )
    return result
