# SPDX-License-Identifier: Apache-2.0
"""The operators that keep an activation quantized, beside its views.

A handler returns NotImplemented to have the operator run on dequantized values.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from ...qtype import qint8
from ..core import has_values
from ..qtensor import QTensor
from ..weights.weight import linear_function
from .qbytes import FUNCTIONS, HANDLERS, ActivationQBytesTensor
from .quantization import quantize_activation

Handler = Callable[..., Any]
Decorated = TypeVar("Decorated", bound=Handler)

_aten = torch.ops.aten
SCALE_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _handles(*packets: Any) -> Callable[[Decorated], Decorated]:
    def register(handler: Decorated) -> Decorated:
        HANDLERS.update(dict.fromkeys(packets, handler))
        return handler

    return register


def _quantized(*values: Any) -> bool:
    return all(isinstance(value, ActivationQBytesTensor) for value in values)


def _factor(value: Any) -> bool:
    """Whether a scale can take this factor: negative scales would turn comparisons of codes."""
    if isinstance(value, torch.Tensor):
        if (
            isinstance(value, QTensor)
            or value.ndim != 0
            or not (has_values(value) and value.is_cpu)
        ):
            return False
        value = value.item()
    return isinstance(value, float | int) and value >= 0


def _same_scale(first: Any, second: Any) -> bool:
    """Both quantized, to one type and scale: their codes compare and join as they are.

    While a graph is traced only the same scale tensor is known to be equal.
    """
    if not _quantized(first, second) or first._qtype != second._qtype:
        return False
    if first._scale is second._scale:
        return True
    return has_values(first._scale) and torch.equal(first._scale, second._scale)


@_handles(_aten.detach, _aten.alias, _aten.lift_fresh)
def _same(func: Any, q: ActivationQBytesTensor) -> Any:
    view = q._map(func)
    view._viewed = True
    return view


@_handles(_aten.pin_memory, _aten._pin_memory)
def _pinned(func: Any, q: ActivationQBytesTensor, *args: Any) -> Any:
    return q._map(lambda tensor: func(tensor, *args))


@_handles(_aten.clone)
def _clone(func: Any, q: ActivationQBytesTensor, **options: Any) -> Any:
    return q.of(q._qtype, func(q._data, **options), q._scale.clone())


@_handles(_aten._to_copy)
def _to_copy(func: Any, q: ActivationQBytesTensor, *, dtype: Any = None, **options: Any) -> Any:
    if dtype is not None and dtype not in SCALE_DTYPES:
        return NotImplemented
    data = func(q._data, **options)
    options.pop("memory_format", None)
    return q.of(q._qtype, data, func(q._scale, dtype=dtype, **options))


@_handles(_aten.copy_)
def _copy(func: Any, target: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> Any:
    if isinstance(target, ActivationQBytesTensor):
        target._copy(source, non_blocking)
    elif _quantized(source):
        target.copy_(source.dequantize(), non_blocking=non_blocking)
    else:
        return NotImplemented
    return target


@_handles(_aten.is_same_size)
def _is_same_size(func: Any, first: torch.Tensor, second: torch.Tensor) -> Any:
    return first.shape == second.shape


@_handles(_aten._unsafe_view, _aten._reshape_copy)
def _reshape(func: Any, q: ActivationQBytesTensor, size: Sequence[int]) -> Any:
    return q.with_codes(func(q._data, size))


@_handles(_aten.cat)
def _cat(func: Any, tensors: Sequence[Any], dim: int = 0) -> Any:
    return _joined(func, tensors, dim, floats=False)


@_handles(_aten.stack)
def _stack(func: Any, tensors: Sequence[Any], dim: int = 0) -> Any:
    return _joined(func, tensors, dim, floats=True)


def _joined(func: Any, tensors: Sequence[Any], dim: int, floats: bool) -> Any:
    first = tensors[0]
    if not all(_same_scale(first, other) for other in tensors):
        return NotImplemented
    if first._qtype.is_floating_point and not floats:
        return NotImplemented  # torch joins no float8
    return first.with_codes(func([q._data for q in tensors], dim))


@_handles(_aten.lt)
def _lt(func: Any, first: Any, second: Any) -> Any:
    if not _same_scale(first, second) or first._qtype.is_floating_point:
        return NotImplemented
    return func(first._data, second._data)


@_handles(_aten.mul)
def _mul(func: Any, first: Any, second: Any) -> Any:
    if not _quantized(first):
        first, second = second, first
    if not _quantized(first) or not _factor(second):
        return NotImplemented
    return _scaled(func, first, second)


@_handles(_aten.div)
def _div(func: Any, first: Any, second: Any, **options: Any) -> Any:
    if options or not _quantized(first) or not _factor(second):
        return NotImplemented
    return _scaled(func, first, second)


def _scaled(func: Any, q: ActivationQBytesTensor, other: Any) -> Any:
    scale = func(q._scale, other)
    if scale.dtype != q.dtype:  # a 0-d tensor of float64 does not promote a tensor with dimensions
        scale = scale.to(q.dtype)
    return q.of(q._qtype, q._data, scale)


@_handles(_aten.neg, _aten.relu)
def _on_integers(func: Any, q: ActivationQBytesTensor) -> Any:
    if q._qtype.is_floating_point:
        return NotImplemented
    if func.overloadpacket is _aten.neg:  # -(-128) is no code
        return q.with_codes(func(q._data.clamp_min(-127)))
    return q.with_codes(func(q._data))


@_handles(_aten.relu_)
def _relu_in_place(func: Any, q: ActivationQBytesTensor) -> Any:
    if q._qtype.is_floating_point:
        return NotImplemented
    func(q._data)
    return q


@_handles(_aten._softmax)
def _softmax(func: Any, q: ActivationQBytesTensor, dim: int, half_to_float: bool) -> Any:
    values = func(q._dequantize(), dim, half_to_float)
    largest = torch.full((), 1 / q._qtype.qmax, dtype=values.dtype, device=values.device)
    return quantize_activation(values, q._qtype, largest)  # probabilities end at 1


@_handles(_aten.where)
def _where(func: Any, condition: torch.Tensor, q: Any = None, other: Any = None) -> Any:
    if not _quantized(q) or isinstance(other, QTensor):
        return NotImplemented
    values = func(condition, q._dequantize(), other)
    return quantize_activation(values, q._qtype, q._scale)


@_handles(_aten.bmm, _aten.mm)
def _product(func: Any, first: Any, second: Any) -> Any:
    if not _quantized(first, second) or first._qtype != qint8 or second._qtype != qint8:
        return NotImplemented
    products = func(first._data.float(), second._data.float())
    scale = first._scale.float() * second._scale.float()
    return (products * scale).to(first.dtype)


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    if isinstance(first, QTensor):
        return first.equal(second)
    return isinstance(second, QTensor) and second.equal(first)


FUNCTIONS[torch.nn.functional.linear] = linear_function
FUNCTIONS[torch.equal] = _equal
