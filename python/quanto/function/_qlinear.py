# SPDX-License-Identifier: Apache-2.0
"""Linear layers with quantized activations."""

from typing import Any

import torch

from ._dense import dense_input, dense_weight


class QLinearFunction(torch.autograd.Function):
    """`quanto::qlinear` with gradients for input, bias and, straight through, the float weight."""

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
        out_features: int,
        activation: torch.dtype,
    ) -> torch.Tensor:
        """One operator call, on `codes`, or on `source` where there are none."""
        input = source if codes is None else codes
        kept = input if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(kept, input_scale, data, scale, shift)
        ctx.packing = (bits, group_size, [out_features, input.shape[-1]])
        ctx.activation = activation
        weights = (data, scale, shift, bias, bits, group_size, out_features)
        result: torch.Tensor = torch.ops.quanto.qlinear(
            input, input_scale, *weights, activation, None
        )
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients for `source`, `weight` and `bias`."""
        input, input_scale, data, scale, shift = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            weight = dense_weight(data, scale, shift, *ctx.packing)
            grad_input = torch.matmul(grad, weight.to(grad.dtype))
        rows = grad.reshape(-1, grad.shape[-1])
        if ctx.needs_input_grad[1]:
            x = dense_input(input, input_scale, ctx.activation, rows.shape[0])
            grad_weight = rows.t() @ x.reshape(-1, x.shape[-1]).to(grad.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = rows.sum(0)
        return grad_input, grad_weight, grad_bias, *(None,) * 9


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
    *,
    weight: torch.Tensor | None = None,
    source: torch.Tensor | None = None,
) -> torch.Tensor:
    """`quanto.library.qlinear` with a float result, differentiable in input and bias.

    `weight` is the float weight (out_features, K), or the quantized tensor that came from it with a
    straight-through gradient; `source`, where `input` is codes, the quantized tensor that holds
    them. They take no part in the result and receive the gradients that a float layer with the
    dequantized weight and input would give them.
    """
    codes = None if source is None else input
    weights = (data, scale, shift, bits, group_size, out_features)
    result: torch.Tensor = QLinearFunction.apply(  # type: ignore[no-untyped-call]
        input if source is None else source, weight, bias, codes, input_scale, *weights, activation
    )
    return result
