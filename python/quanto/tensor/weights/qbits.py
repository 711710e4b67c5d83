# SPDX-License-Identifier: Apache-2.0
"""Weights of 4 and 2 bits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from typing_extensions import Self

from ... import library
from ...qtype import qtype as QType
from ...qtype import qtypes
from ..core import has_values
from ..fallback import qfallback
from ..packed import PackedTensor
from ..qbits import QBitsTensor, code_geometry
from ..wrapper import contiguous_stride
from .linear import linear
from .weight import Operands, WeightQTensor


class WeightQBitsTensor(WeightQTensor, QBitsTensor):
    """A weight of packed 4- or 2-bit codes."""

    def __init__(
        self,
        qtype: QType,
        axis: int,
        group_size: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        requires_grad: bool = False,
    ) -> None:
        QBitsTensor.__init__(self, qtype, axis, group_size, size, stride, data, scale, shift)
        self._direct = axis == 0 and len(size) == 2
        self._out_features = size[0]

    @classmethod
    def create(
        cls,
        qtype: QType,
        axis: int,
        group_size: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        requires_grad: bool = False,
    ) -> Self:
        """The same as the constructor: there is one layout."""
        return cls(qtype, axis, group_size, size, stride, data, scale, shift, requires_grad)

    @classmethod
    def quantize(
        cls,
        base: torch.Tensor,
        qtype: QType,
        axis: int,
        group_size: int | None,
        scale: torch.Tensor,
        shift: torch.Tensor,
        optimized: bool = True,
    ) -> "WeightQBitsTensor":
        """Quantize by a scale and a shift; the gradient passes straight to `base`."""
        result: WeightQBitsTensor = QuantizeBits.apply(  # type: ignore[no-untyped-call]
            base, qtype, axis, group_size, scale, shift
        )
        return result

    @classmethod
    def load_from_state_dict(
        cls,
        state_dict: Mapping[str, torch.Tensor],
        prefix: str,
        qtype: QType,
        axis: int,
        group_size: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        missing_keys: list[str],
    ) -> Self | None:
        """The weight of these inner tensors, or None and what lacks in `missing_keys`."""
        names = ("_data._data", "_scale", "_shift")
        inner = cls._state(state_dict, prefix, names, missing_keys)
        if inner is None:
            return None
        packed = PackedTensor(inner[0], qtype.bits, *code_geometry(size, axis, group_size))
        return cls(qtype, axis, group_size, size, stride, packed, inner[1], inner[2])

    def weight_qbits_tensor(self) -> "WeightQBitsTensor":
        """This weight in the canonical layout."""
        return self

    def linear(self, input: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """`input @ self.T + bias`, on the codes where they are a matrix along axis 0."""
        if not self._direct:
            return qfallback(torch.nn.functional.linear, input, self.dequantize(), bias)
        return linear(
            input,
            self._data._data,
            self._scale,
            self._shift,
            bias,
            self._qtype.bits,
            self._group_size,
            self._out_features,
            self,
        )

    def operands(self, bias: torch.Tensor | None) -> Operands:
        """The arguments of a linear layer's operator, for a matrix along axis 0."""
        packed, bits = self._data._data, self._qtype.bits
        weight = (self._scale, self._shift, bias, bits, self._group_size, self._out_features)
        return packed, *weight

    def _facts(self) -> dict[str, Any]:
        return {"qtype": self._qtype.name, "axis": self._axis, "group_size": self._group_size}

    @classmethod
    def _build(
        cls,
        inner: Mapping[str, torch.Tensor],
        facts: Mapping[str, Any],
        size: Sequence[int],
        stride: Sequence[int],
    ) -> Self:
        return cls(
            qtypes[facts["qtype"]],
            facts["axis"],
            facts["group_size"],
            size,
            stride,
            inner["_data"],
            inner["_scale"],
            inner["_shift"],
        )

    @property
    def _viewable(self) -> bool:
        return self._axis == 0 or self._group_size is None

    def _code_rows(self) -> int | None:
        """Rows of the code matrix to one output feature; None where a cut is not by such rows."""
        if self._axis != 0 or self.dim() < 2 or self._data.shape[0] % self.shape[0] != 0:
            return None
        return self._data.shape[0] // self.shape[0]

    def _rows(self, start: int, stop: int) -> Self | None:
        count = self._code_rows()
        if count is None:
            return None
        rows = slice(start * count, stop * count)
        inner = {
            "_data": self._data.rows(rows.start, rows.stop),
            "_scale": self._scale[rows],
            "_shift": self._shift[rows],
        }
        return self._with(inner, (stop - start, *self.shape[1:]))

    def _written(self) -> None:
        self._data.write_back()

    def _requantized(self, values: torch.Tensor) -> Self:
        base = values.reshape(self._data.shape) if self._viewable else values
        group_size = None if self._viewable else self._group_size
        kept = self._with_codes(base, group_size, self._scale, self._shift)
        if has_values(base) and torch.equal(kept._dequantize(), values.reshape(self.shape)):
            return kept
        integer = not self._shift.dtype.is_floating_point
        bits = self._qtype.bits
        scale, shift = library.max_scale(base, bits, self._axis, group_size, integer)
        return self._with_codes(base, group_size, scale, shift)

    def _with_codes(
        self, base: torch.Tensor, group_size: int | None, scale: torch.Tensor, shift: torch.Tensor
    ) -> Self:
        bits = self._qtype.bits
        codes = library.quantize_affine(base, bits, self._axis, group_size, scale, shift)
        packed = PackedTensor.pack(codes, bits)
        return self._with({"_data": packed, "_scale": scale, "_shift": shift})


class QuantizeBits(torch.autograd.Function):
    """Quantize a weight; the gradient passes straight to the float one."""

    @staticmethod
    def forward(
        ctx: Any,
        base: torch.Tensor,
        qtype: QType,
        axis: int,
        group_size: int | None,
        scale: torch.Tensor,
        shift: torch.Tensor,
    ) -> WeightQBitsTensor:
        """Quantize by these scales."""
        codes = library.quantize_affine(base, qtype.bits, axis, group_size, scale, shift)
        stride = contiguous_stride(base.shape)
        return WeightQBitsTensor(qtype, axis, group_size, base.shape, stride, codes, scale, shift)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradient as it is, to the float weight."""
        return grad, None, None, None, None, None


torch.serialization.add_safe_globals([WeightQBitsTensor])
