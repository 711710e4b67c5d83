# SPDX-License-Identifier: Apache-2.0
"""A linear layer on the plain tensors of a quantized weight."""

import torch

from ... import function
from ..activations import ActivationQBytesTensor
from ..qtensor import QTensor

_linear = torch.ops.quanto.linear.default
_qlinear = torch.ops.quanto.qlinear.default


def linear(
    input: torch.Tensor,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bias: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    out_features: int,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """One operator call; through autograd only where a gradient is needed.

    `weight` is the tensor whose codes these are, where it wants a gradient: straight through.
    A quantized activation is multiplied by its codes. Dtypes follow `F.linear`: under autocast the
    input and the bias are cast, otherwise the dtypes of input and weight must agree.
    """
    if isinstance(input, QTensor):
        if isinstance(input, ActivationQBytesTensor):
            arguments = (data, scale, shift, bias, bits, group_size, out_features)
            return qlinear(input, None, *arguments, input._data.dtype, weight=weight)
        input = input.dequantize()
    if torch.is_autocast_enabled(input.device.type):
        dtype = torch.get_autocast_dtype(input.device.type)
        input = input.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    elif input.dtype != scale.dtype:
        raise _dtype_error(input, scale)
    if torch.is_grad_enabled() and (
        weight is not None or input.requires_grad or (bias is not None and bias.requires_grad)
    ):
        rest = (data, scale, shift, bias, bits, group_size, out_features)
        return function.linear(input, *rest, weight=weight)
    result: torch.Tensor = _linear(input, data, scale, shift, bias, bits, group_size, out_features)
    return result


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
    *,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """`linear` with the activations quantized to `activation`, in one operator call too.

    A float input takes `input_scale`, or a scale per row with None; a quantized activation brings
    its own. The result is float, or with `output_scale` plain codes; that is only allowed where
    `needs_gradient` is false.
    """
    operand = input
    if isinstance(input, ActivationQBytesTensor):
        if input.dtype != scale.dtype and not torch.is_autocast_enabled(input.device.type):
            raise _dtype_error(input, scale)
        operand, input_scale = input._data, input._scale
        bias = None if bias is None else bias.to(scale.dtype)
    elif torch.is_autocast_enabled(input.device.type):
        dtype = torch.get_autocast_dtype(input.device.type)
        operand = input.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    elif input.dtype != scale.dtype:
        raise _dtype_error(input, scale)
    if output_scale is None and needs_gradient(input, bias, weight):
        rest = (data, scale, shift, bias, bits, group_size, out_features, activation)
        codes = operand.dtype == activation and input.requires_grad
        source = input if codes else None
        return function.qlinear(operand, input_scale, *rest, weight=weight, source=source)
    result: torch.Tensor = _qlinear(
        operand,
        input_scale,
        data,
        scale,
        shift,
        bias,
        bits,
        group_size,
        out_features,
        activation,
        output_scale,
    )
    return result


def needs_gradient(*tensors: torch.Tensor | None) -> bool:
    """Whether autograd has to record an operator on these."""
    if not torch.is_grad_enabled():  # asked first: a wrapper's requires_grad takes microseconds
        return False
    return any(t is not None and t.requires_grad for t in tensors)


def _dtype_error(input: torch.Tensor, scale: torch.Tensor) -> RuntimeError:
    return RuntimeError(
        f"linear: expected input of the weight's dtype {scale.dtype}, got {input.dtype}"
    )
