# SPDX-License-Identifier: Apache-2.0
"""`dequantize()` of a plain float tensor, with the derivative that torch lacks.

Training code for quantized models reads `model(data).dequantize()`, whatever the model returns. A
calibration that streamlines leaves results float: torch gives their values (in float32), but has no
derivative for it. Here it gets one, the identity, for all tensors that are not quantized.
"""

from typing import Any

import torch


def _values(t: torch.Tensor) -> torch.Tensor:
    with torch._C._AutoDispatchBelowAutograd():
        result: torch.Tensor = torch.ops.aten.dequantize.self(t)
    return result


class _FloatDequantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: torch.Tensor) -> torch.Tensor:
        ctx.dtype = t.dtype
        return _values(t)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad.to(ctx.dtype)


def _dequantize(t: torch.Tensor) -> torch.Tensor:
    if torch.is_grad_enabled() and t.requires_grad:
        result: torch.Tensor = _FloatDequantize.apply(t)  # type: ignore[no-untyped-call]
        return result
    return _values(t)


def _register() -> torch.library.Library:
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    for key in ("AutogradCPU", "AutogradCUDA"):
        library.impl("dequantize.self", _dequantize, key)  # type: ignore[no-untyped-call]
    return library


_registered = _register()
