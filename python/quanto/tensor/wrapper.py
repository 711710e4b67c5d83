# SPDX-License-Identifier: Apache-2.0
"""Tensors without storage of their own, made of other tensors."""

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import torch
from typing_extensions import Self


class InnerTensors(MutableMapping[str, torch.Tensor]):
    """The inner tensors of a wrapper by name, for tools that write into a module's buffers."""

    def __init__(self, wrapper: "WrapperTensor") -> None:
        self._wrapper = wrapper

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._wrapper.inner_names:
            raise KeyError(name)
        tensor: torch.Tensor = getattr(self._wrapper, name)
        return tensor

    def __setitem__(self, name: str, value: torch.Tensor) -> None:
        if name not in self._wrapper.inner_names:
            raise KeyError(name)
        setattr(self._wrapper, name, value)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{type(self._wrapper).__name__}: expected {name} to stay, got a deletion")

    def __iter__(self) -> Iterator[str]:
        return iter(self._wrapper.inner_names)

    def __len__(self) -> int:
        return len(self._wrapper.inner_names)


class _WrapperMeta(torch._C._TensorMeta):
    """Lets `type(parameter)(tensor, **parameter.__dict__)` make a parameter of a wrapper.

    This is how accelerate rebuilds parameters on another device.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not args or not isinstance(args[0], WrapperTensor):
            return super().__call__(*args, **kwargs)
        requires_grad = kwargs.pop("requires_grad", args[0].requires_grad)
        result = torch.nn.Parameter(args[0], requires_grad=requires_grad)
        for name, value in kwargs.items():
            result.__dict__.setdefault(name, value)
        return result


class WrapperTensor(torch.Tensor, metaclass=_WrapperMeta):
    """Base of tensors whose content lies in inner tensors, held as plain attributes.

    Inner tensors may be assigned (`weight._data = t`); the device is that of `_data`. A subclass
    names them in `inner_names`, gives its other constructor arguments in `_facts` and is rebuilt
    from both by `_build`.
    """

    inner_names: ClassVar[tuple[str, ...]] = ("_data",)
    _data: torch.Tensor

    def _facts(self) -> dict[str, Any]:
        """What a rebuild needs beside the inner tensors and the geometry: plain values only."""
        raise NotImplementedError

    @classmethod
    def _build(
        cls,
        inner: Mapping[str, torch.Tensor],
        facts: Mapping[str, Any],
        size: Sequence[int],
        stride: Sequence[int],
    ) -> Self:
        raise NotImplementedError

    def _inner(self) -> dict[str, torch.Tensor]:
        return {name: getattr(self, name) for name in self.inner_names}

    def _with(self, inner: Mapping[str, torch.Tensor], size: Sequence[int] | None = None) -> Self:
        """The same facts round other inner tensors, contiguous if a size is given."""
        if size is None:
            return self._build(inner, self._facts(), self.size(), self.stride())
        return self._build(inner, self._facts(), size, contiguous_stride(size))

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        return self._with({name: function(tensor) for name, tensor in self._inner().items()})

    def __tensor_flatten__(self) -> tuple[list[str], dict[str, Any]]:
        return list(self.inner_names), self._facts()

    @classmethod
    def __tensor_unflatten__(
        cls,
        inner_tensors: dict[str, torch.Tensor],
        meta: dict[str, Any],
        outer_size: Sequence[int],
        outer_stride: Sequence[int],
    ) -> Self:
        return cls._build(inner_tensors, meta, outer_size, outer_stride)

    # The geometry was given to torch at construction; the device follows assignments.

    def _codes(self) -> torch.Tensor:
        """`_data`; to read the attribute would be a step of what torch.export traces."""
        data: torch.Tensor = self.__dict__["_data"]
        return data

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the codes are."""
        return self._codes().device

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        """Whether the codes are on the meta device."""
        return self._codes().is_meta

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        """Whether the codes are on the CPU."""
        return self._codes().is_cpu

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """Whether the codes are on a CUDA device."""
        return self._codes().is_cuda

    # Tools that resolve "module.weight._data" by walking modules stop here.

    @property
    def _parameters(self) -> dict[str, torch.Tensor]:
        return {}

    @property
    def _buffers(self) -> InnerTensors:
        return InnerTensors(self)

    def share_memory_(self) -> Self:
        """Move all inner tensors to shared memory."""
        for tensor in self._inner().values():
            tensor.share_memory_()  # type: ignore[no-untyped-call]
        return self

    def is_shared(self) -> bool:
        """Whether the codes are in shared memory."""
        return bool(self._data.is_shared())  # type: ignore[no-untyped-call]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        twin = self._map(lambda tensor: tensor)
        extra = {name: value for name, value in self.__dict__.items() if name not in twin.__dict__}
        geometry = (tuple(self.size()), tuple(self.stride()), self.requires_grad)
        return rebuild_wrapper, (type(self), self._inner(), self._facts(), *geometry, extra)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if id(self) in memo:
            known: Self = memo[id(self)]
            return known
        rebuild, arguments = self.__reduce_ex__(4)
        result: Self = rebuild(*copy.deepcopy(arguments, memo))
        memo[id(self)] = result
        return result

    def _stable_hash_for_caching(self) -> str:
        """What torch.compile keys its cache by, beside the inner tensors' metadata."""
        inner = [(t.dtype, tuple(t.shape), t.device.type) for t in self._inner().values()]
        geometry = (tuple(self.size()), tuple(self.stride()), self.requires_grad)
        return repr((type(self).__name__, self._facts(), geometry, inner))

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        facts = ", ".join(f"{name}={value}" for name, value in self._facts().items())
        return f"{type(self).__name__}({facts}, size={tuple(self.size())}, device={self.device})"


def rebuild_wrapper(
    cls: type[WrapperTensor],
    inner: dict[str, torch.Tensor],
    facts: dict[str, Any],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    extra: dict[str, Any],
) -> WrapperTensor:
    """What a pickled wrapper calls; `extra` are attributes that others set on it."""
    result = cls._build(inner, facts, size, stride)
    result.requires_grad_(requires_grad)
    result.__dict__.update(extra)
    return result


def contiguous_stride(size: Sequence[int]) -> tuple[int, ...]:
    """Strides of a contiguous tensor of that size."""
    strides = [1]
    for length in reversed(size[1:]):
        strides.append(strides[-1] * max(length, 1))
    return tuple(reversed(strides)) if size else ()


torch.serialization.add_safe_globals([rebuild_wrapper])
