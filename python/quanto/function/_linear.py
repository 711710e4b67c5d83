# SPDX-License-Identifier: Apache-2.0
"""Linear layers with a float input."""

from typing import Any

import torch

from ._dense import dense_weight


class LinearFunction(torch.autograd.Function):
    """`quanto::linear` with gradients for input, bias and, straight through, the float weight."""

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor | None,
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor | None,
        bias: torch.Tensor | None,
        bits: int,
        group_size: int | None,
        out_features: int,
    ) -> torch.Tensor:
        """One operator call; the float weight takes no part in it."""
        ctx.save_for_backward(input if ctx.needs_input_grad[1] else None, data, scale, shift)
        ctx.packing = (bits, group_size, [out_features, input.shape[-1]])
        result: torch.Tensor = torch.ops.quanto.linear(
            input, data, scale, shift, bias, bits, group_size, out_features
        )
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients for `input`, `weight` and `bias`."""
        input, data, scale, shift = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            weight = dense_weight(data, scale, shift, *ctx.packing)
            grad_input = torch.matmul(grad, weight.to(grad.dtype))
        rows = grad.reshape(-1, grad.shape[-1])
        if ctx.needs_input_grad[1]:
            grad_weight = rows.t() @ input.reshape(-1, input.shape[-1])
        if ctx.needs_input_grad[5]:
            grad_bias = rows.sum(0)
        return grad_input, grad_weight, None, None, None, grad_bias, None, None, None


def linear(
    input: torch.Tensor,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bias: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    out_features: int,
    *,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """`quanto.library.linear`, differentiable in input and bias.

    `weight` is the float weight (out_features, K), or the quantized tensor that came from it with a
    straight-through gradient: it takes no part in the result and receives the gradient that a float
    layer would give it.
    """
    result: torch.Tensor = LinearFunction.apply(  # type: ignore[no-untyped-call]
        input, weight, data, scale, shift, bias, bits, group_size, out_features
    )
    return result
