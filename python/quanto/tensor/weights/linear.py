# SPDX-License-Identifier: Apache-2.0
"""A linear layer on the plain tensors of a quantized weight.

One call of a small layer is mostly Python (docs/performance.md), so what every call needs is looked
up once, here, and what is rarely true is asked in the cheapest way first: for the exact type before
a subclass, for gradients at all before a tensor's, for autocast at all before that of a device.
"""

import torch
from torch.compiler import is_dynamo_compiling

from ... import function
from ..activations import ActivationQBytesTensor
from ..qtensor import QTensor

_Tensor = torch.Tensor
_grad_enabled = torch.is_grad_enabled
_any_autocast = torch._C._is_any_autocast_enabled

_linear = torch.ops.quanto.linear.default
_qlinear = torch.ops.quanto.qlinear.default
# What the __call__ of these calls and does nothing else; dynamo has to see them themselves.
_eager_linear, _eager_qlinear = _linear._op, _qlinear._op


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

    `weight` is the tensor whose codes these are: a gradient that it wants passes straight to it.
    A quantized activation is multiplied by its codes. Dtypes follow `F.linear`: under autocast the
    input and the bias are cast, otherwise the dtypes of input and weight must agree.
    """
    if type(input) is not _Tensor and isinstance(input, QTensor):
        if isinstance(input, ActivationQBytesTensor):
            arguments = (data, scale, shift, bias, bits, group_size, out_features)
            return qlinear(input, None, *arguments, input._data.dtype, weight=weight)
        input = input.dequantize()
    if under_autocast(input):
        dtype = torch.get_autocast_dtype(input.device.type)
        input = input.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    elif input.dtype is not scale.dtype:
        raise _dtype_error(input, scale)
    if needs_gradient(input, bias, weight):
        rest = (data, scale, shift, bias, bits, group_size, out_features)
        return function.linear(input, *rest, weight=_trained(weight))
    call = _linear if is_dynamo_compiling() else _eager_linear
    result: torch.Tensor
    if bits == 8:  # the rest is as in the schema
        result = call(input, data, scale, shift, bias)
    else:
        result = call(input, data, scale, shift, bias, bits, group_size, out_features)
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
    if type(input) is not _Tensor and isinstance(input, ActivationQBytesTensor):
        if input.dtype is not scale.dtype and not under_autocast(input):
            raise _dtype_error(input, scale)
        operand, input_scale = input._data, input._scale
        bias = None if bias is None else bias.to(scale.dtype)
    elif under_autocast(input):
        dtype = torch.get_autocast_dtype(input.device.type)
        operand = input.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    elif input.dtype is not scale.dtype:
        raise _dtype_error(input, scale)
    if output_scale is None and needs_gradient(input, bias, weight):
        rest = (data, scale, shift, bias, bits, group_size, out_features, activation)
        codes = operand.dtype == activation and input.requires_grad
        source = input if codes else None
        trained = _trained(weight)
        return function.qlinear(operand, input_scale, *rest, weight=trained, source=source)
    call = _qlinear if is_dynamo_compiling() else _eager_qlinear
    result: torch.Tensor = call(
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
    if not _grad_enabled():  # asked first: a wrapper's requires_grad takes microseconds
        return False
    return any(t is not None and t.requires_grad for t in tensors)


def under_autocast(input: torch.Tensor) -> bool:
    """Whether operators on this input take it in autocast's dtype."""
    return _any_autocast() and torch.is_autocast_enabled(input.device.type)


def _trained(weight: torch.Tensor | None) -> torch.Tensor | None:
    return weight if weight is not None and weight.requires_grad else None


def _dtype_error(input: torch.Tensor, scale: torch.Tensor) -> RuntimeError:
    return RuntimeError(
        f"linear: expected input of the weight's dtype {scale.dtype}, got {input.dtype}"
    )
