# SPDX-License-Identifier: Apache-2.0
"""The operators that keep a weight quantized."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from ..qtensor import QTensor
from .weight import HANDLERS, WeightQTensor

Handler = Callable[..., Any]
Decorated = TypeVar("Decorated", bound=Handler)

_aten = torch.ops.aten
SCALE_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _handles(*packets: Any) -> Callable[[Decorated], Decorated]:
    """Register for these operators. A handler returns NotImplemented to have it run densely."""

    def register(handler: Decorated) -> Decorated:
        HANDLERS.update(dict.fromkeys(packets, handler))
        return handler

    return register


@_handles(_aten.detach, _aten.alias, _aten.lift_fresh, _aten.pin_memory, _aten._pin_memory)
def _same(func: Any, q: WeightQTensor, *args: Any) -> Any:
    return q._map(lambda tensor: func(tensor, *args))


@_handles(_aten.clone)
def _clone(func: Any, q: WeightQTensor, *, memory_format: Any = None) -> Any:
    return q._map(func)


def _converted(func: Any, q: WeightQTensor, dtype: Any, options: dict[str, Any]) -> WeightQTensor:
    """Every inner tensor through `func`, float scales and shifts to `dtype`, codes as they are."""
    options.pop("memory_format", None)

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        floating = dtype is not None and tensor.dtype in SCALE_DTYPES
        return func(tensor, **options, **({"dtype": dtype} if floating else {}))  # type: ignore[no-any-return]

    return q._map(convert)


@_handles(_aten._to_copy)
def _to_copy(func: Any, q: WeightQTensor, *, dtype: Any = None, **options: Any) -> Any:
    if dtype is None or dtype in SCALE_DTYPES:
        return _converted(func, q, dtype, options)
    if dtype.is_floating_point:
        raise TypeError(
            f"to: expected float32, float16 or bfloat16 for a quantized weight, got {dtype}"
        )
    return NotImplemented


@_handles(_aten.empty_like)
def _empty_like(func: Any, q: WeightQTensor, *, dtype: Any = None, **options: Any) -> Any:
    if dtype is None or dtype in SCALE_DTYPES:
        return _converted(func, q, dtype, options)
    return NotImplemented


@_handles(_aten.copy_)
def _copy(func: Any, target: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> Any:
    if isinstance(target, WeightQTensor):
        target._copy(source, non_blocking)
    elif isinstance(source, QTensor):
        target.copy_(source.dequantize(), non_blocking=non_blocking)
    return target


def _slice_rows(q: WeightQTensor, start: int, stop: int) -> WeightQTensor | None:
    if (start, stop) == (0, q.shape[0]):
        return q._map(lambda tensor: tensor.detach())
    return q._rows(start, stop)


@_handles(_aten.slice)
def _slice(
    func: Any,
    q: WeightQTensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Any:
    if dim != 0 or step != 1:
        return NotImplemented
    first, last, _ = slice(start, end).indices(q.shape[0])
    rows = _slice_rows(q, first, max(first, last))
    return NotImplemented if rows is None else rows


@_handles(_aten.split)
def _split(func: Any, q: WeightQTensor, split_size: Any, dim: int = 0) -> Any:
    length = q.shape[0]
    if dim != 0 or not isinstance(split_size, int) or split_size < 1:
        return NotImplemented
    starts = range(0, length, split_size)
    parts = [_slice_rows(q, start, min(start + split_size, length)) for start in starts]
    return NotImplemented if None in parts else parts


@_handles(_aten.view, _aten._unsafe_view)
def _view(func: Any, q: WeightQTensor, size: Sequence[int]) -> Any:
    if not q._viewable:
        return NotImplemented
    shape = torch.empty(q.shape, device="meta").view(size).shape
    return q._with(q._inner(), tuple(shape))


@_handles(_aten.as_strided)
def _as_strided(
    func: Any, q: WeightQTensor, size: Sequence[int], stride: Sequence[int], offset: Any = None
) -> Any:
    if tuple(size) == tuple(q.shape) and tuple(stride) == q.stride() and not offset:
        return q._map(lambda tensor: tensor.detach())
    return NotImplemented


@_handles(_aten.is_pinned)
def _is_pinned(func: Any, q: WeightQTensor, *args: Any, **kwargs: Any) -> Any:
    return q._scale.is_pinned()


@_handles(_aten.record_stream)
def _record_stream(func: Any, q: WeightQTensor, stream: Any) -> None:
    q._map(lambda tensor: func(tensor, stream) or tensor)
