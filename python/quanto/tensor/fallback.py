# SPDX-License-Identifier: Apache-2.0
"""Running functions that know nothing of quantized tensors on dequantized ones."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils import _pytree as pytree

from .core import has_values
from .qtensor import QTensor
from .schema import written
from .view import take_view

Result = TypeVar("Result")


def qfallback(callable: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Call with every quantized tensor dequantized."""
    args, kwargs = pytree.tree_map_only(QTensor, lambda q: q.dequantize(), (args, kwargs))
    return callable(*args, **kwargs)


def run_dense(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on dequantized tensors; what it writes is quantized back into place.

    A view remembers the way back, so that writes to it are not lost either. (A trace of the
    compiler takes plain values: it has no writes to views of weights.)
    """
    if func.is_view and isinstance(args[0], QTensor) and has_values(args[0]):
        return take_view(args[0], (), args[0], func, args, kwargs)
    dense: dict[int, tuple[QTensor, torch.Tensor]] = {}

    def expand(q: QTensor) -> torch.Tensor:
        if id(q) not in dense:
            dense[id(q)] = (q, q._dequantize())
        return dense[id(q)][1]

    dense_args, dense_kwargs = pytree.tree_map_only(QTensor, expand, (args, kwargs))
    result = func(*dense_args, **dense_kwargs)
    targets = written(func, args, kwargs, QTensor)
    if not targets:
        return result
    for q in targets:
        q.copy_(dense[id(q)][1])
    sources = {id(tensor): q for q, tensor in dense.values()}
    return pytree.tree_map_only(torch.Tensor, lambda t: sources.get(id(t), t), result)
