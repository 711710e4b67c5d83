# SPDX-License-Identifier: Apache-2.0
"""Codes of 2 or 4 bits, several to a byte."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree
from typing_extensions import Self

from .. import library
from .wrapper import WrapperTensor

_aten = torch.ops.aten
_ALIASES = {_aten.detach, _aten.alias}
_ELEMENTWISE = {*_ALIASES, _aten.clone, _aten.pin_memory, _aten._pin_memory}
_LIKE = {_aten._to_copy, _aten.empty_like}


class PackedTensor(WrapperTensor):
    """A matrix of unsigned codes, packed along its first dimension.

    Item j of a byte in packed row r is the code of row `j * R + r`, where R is the number of packed
    rows. `_data` holds the bytes (uint8); the tensor itself is seen as uint8 of the unpacked size.
    """

    @staticmethod
    def __new__(
        cls,
        data: torch.Tensor,
        bits: int,
        size: Sequence[int],
        stride: Sequence[int],
        requires_grad: bool = False,
    ) -> "PackedTensor":
        """A tensor of that geometry without storage; see the class."""
        return torch.Tensor._make_wrapper_subclass(
            cls, tuple(size), strides=tuple(stride), dtype=torch.uint8, device=data.device
        )

    def __init__(
        self,
        data: torch.Tensor,
        bits: int,
        size: Sequence[int],
        stride: Sequence[int],
        requires_grad: bool = False,
    ) -> None:
        self._data = data
        self._bits = bits
        self._origin: tuple[torch.Tensor, int] | None = None

    @classmethod
    def pack(cls, t: torch.Tensor, bits: int = 4) -> Self:
        """Pack uint8 codes below `2**bits`."""
        data = library.pack(t, bits)
        return cls(data, bits, t.size(), t.contiguous().stride())

    def unpack(self) -> torch.Tensor:
        """The codes, one per byte."""
        return library.unpack(self._data, self._bits)[: self.shape[0]]

    def rows(self, start: int, stop: int) -> Self:
        """These rows, packed by themselves: a copy, as rows share bytes.

        It remembers where it comes from; `write_back` puts it there.
        """
        part = self.pack(self.unpack()[start:stop], self._bits)
        part._origin = (self, start)
        return part

    def write_back(self) -> None:
        """Put the rows into what they were taken from, if they were taken from anything."""
        if self._origin is None:
            return
        whole, start = self._origin
        assert isinstance(whole, PackedTensor)
        codes = whole.unpack()
        codes[start : start + self.shape[0]] = self.unpack()
        whole._data.copy_(library.pack(codes, self._bits))
        whole.write_back()

    @property
    def bits(self) -> int:
        """Of one code: 2 or 4."""
        return self._bits

    def _facts(self) -> dict[str, Any]:
        return {"bits": self._bits}

    @classmethod
    def _build(
        cls,
        inner: Mapping[str, torch.Tensor],
        facts: Mapping[str, Any],
        size: Sequence[int],
        stride: Sequence[int],
    ) -> Self:
        return cls(inner["_data"], facts["bits"], size, stride)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet in _ELEMENTWISE:
            result = args[0]._map(func)
            result._origin = args[0]._origin if packet in _ALIASES else None
            return result
        if packet in _LIKE and kwargs.get("dtype") in (None, torch.uint8):
            options = {k: v for k, v in kwargs.items() if k not in ("dtype", "memory_format")}
            return args[0]._map(lambda data: func(data, **options))
        if packet is _aten.copy_ and _same_layout(args[0], args[1]):
            args[0]._data.copy_(args[1]._data, **kwargs)
            args[0].write_back()
            return args[0]
        return _run_unpacked(func, args, kwargs)


def _same_layout(left: Any, right: Any) -> bool:
    both = isinstance(left, PackedTensor) and isinstance(right, PackedTensor)
    return both and left.bits == right.bits and left.size() == right.size()


def _run_unpacked(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run on the codes; an operator that writes to its first argument packs the result into it."""
    plain_args, plain_kwargs = pytree.tree_map_only(
        PackedTensor, lambda packed: packed.unpack(), (args, kwargs)
    )
    result = func(*plain_args, **plain_kwargs)
    if func._schema.is_mutable and isinstance(args[0], PackedTensor):
        args[0]._data.copy_(library.pack(plain_args[0], args[0].bits))
        args[0].write_back()
        return args[0]
    return result


torch.serialization.add_safe_globals([PackedTensor])
