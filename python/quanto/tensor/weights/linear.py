"""A linear layer on the plain tensors of a quantized weight."""

import torch

from ... import function

_linear = torch.ops.quanto.linear.default


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
    Dtypes follow `F.linear`: under autocast the input and the bias are cast, otherwise the dtypes
    of input and weight must agree.
    """
    if torch.is_autocast_enabled(input.device.type):
        dtype = torch.get_autocast_dtype(input.device.type)
        input = input.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    elif input.dtype != scale.dtype:
        raise RuntimeError(
            f"linear: expected input of the weight's dtype {scale.dtype}, got {input.dtype}"
        )
    arguments = (input, data, scale, shift, bias, bits, group_size, out_features)
    if torch.is_grad_enabled() and (
        weight is not None or input.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return function.linear(*arguments, weight=weight)
    result: torch.Tensor = _linear(*arguments)
    return result
