# SPDX-License-Identifier: Apache-2.0
"""Views of the values of a quantized tensor that no quantized tensor can describe."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .qtensor import QTensor
from .schema import written

Step = Callable[[torch.Tensor], torch.Tensor]


class ValuesView(torch.Tensor):
    """A view such as `weight.t()` or `weight[:, 0]`: reads and writes go to the quantized tensor.

    Nothing is held but the way to the view: each operator dequantizes, takes the view and runs; one
    that writes has the whole tensor quantized back into place, so that no write is lost.
    """

    _source: QTensor
    _steps: tuple[Step, ...]

    @staticmethod
    def __new__(
        cls, geometry: torch.Tensor, source: QTensor, steps: tuple[Step, ...]
    ) -> "ValuesView":
        """A tensor of the geometry of a meta tensor."""
        return torch.Tensor._make_wrapper_subclass(
            cls,
            geometry.size(),
            strides=geometry.stride(),
            dtype=geometry.dtype,
            device=source.device,
        )

    def __init__(self, geometry: torch.Tensor, source: QTensor, steps: tuple[Step, ...]) -> None:
        self._source = source
        self._steps = steps

    def _of(self, values: torch.Tensor) -> torch.Tensor:
        for step in self._steps:
            values = step(values)
        return values

    def dequantize(self) -> torch.Tensor:
        """The values as a plain tensor, which is a copy."""
        return self._of(self._source._dequantize())

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        """The values as a numpy array, which is a copy."""
        return self.dequantize().numpy(*args, **kwargs)

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self.dequantize().tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.dequantize().contiguous().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        return self.dequantize().clone()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return repr(self.dequantize())

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.is_view and isinstance(args[0], ValuesView):
            return take_view(args[0]._source, args[0]._steps, args[0], func, args, kwargs)
        bases: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def expand(view: ValuesView) -> torch.Tensor:
            if id(view) not in bases:
                base = view._source._dequantize()
                bases[id(view)] = (base, view._of(base))
            return bases[id(view)][1]

        plain_args, plain_kwargs = pytree.tree_map_only(ValuesView, expand, (args, kwargs))
        result = func(*plain_args, **plain_kwargs)
        targets = written(func, args, kwargs, ValuesView)
        for view in targets:
            view._source.copy_(bases[id(view)][0])
        return targets[0] if targets else result


def take_view(
    source: QTensor,
    steps: tuple[Step, ...],
    viewed: torch.Tensor,
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """The result of a view operator on `viewed`, which is `steps` away from `source`."""
    size, stride = viewed.size(), viewed.stride()
    geometry = torch.empty_strided(size, stride, dtype=viewed.dtype, device="meta")
    result = func(geometry, *args[1:], **kwargs)
    if isinstance(result, torch.Tensor):
        return ValuesView(result, source, (*steps, lambda t: func(t, *args[1:], **kwargs)))

    def part(index: int) -> Step:
        return lambda t: func(t, *args[1:], **kwargs)[index]

    return [ValuesView(each, source, (*steps, part(i))) for i, each in enumerate(result)]
