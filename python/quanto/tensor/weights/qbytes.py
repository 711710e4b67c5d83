# SPDX-License-Identifier: Apache-2.0
"""Weights of 8 bits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from typing_extensions import Self

from ... import library
from ...qtype import qtype as QType
from ...qtype import qtypes
from ..core import has_values
from ..fallback import qfallback
from ..qbytes import QBytesTensor
from ..wrapper import contiguous_stride
from .linear import linear
from .weight import Operands, WeightQTensor


class WeightQBytesTensor(WeightQTensor, QBytesTensor):
    """A weight of 8-bit codes, int8 or float8."""

    @staticmethod
    def __new__(
        cls,
        qtype: QType,
        axis: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        activation_qtype: QType | None = None,
        requires_grad: bool = False,
    ) -> "WeightQBytesTensor":
        """A tensor of that geometry without storage; see the class."""
        return QBytesTensor.__new__(cls, qtype, axis, size, stride, data, scale, requires_grad)  # type: ignore[return-value]

    def __init__(
        self,
        qtype: QType,
        axis: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        activation_qtype: QType | None = None,
        requires_grad: bool = False,
    ) -> None:
        QBytesTensor.__init__(self, qtype, axis, size, stride, data, scale, requires_grad)
        self.activation_qtype = activation_qtype
        self._direct = axis != -1 and len(size) == 2 and tuple(data.shape) == tuple(size)
        self._out_features = size[0] if size else 1

    @classmethod
    def create(
        cls,
        qtype: QType,
        axis: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        activation_qtype: QType | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """The same as the constructor: there is one layout."""
        return cls(qtype, axis, size, stride, data, scale, activation_qtype, requires_grad)

    @classmethod
    def quantize(
        cls,
        base: torch.Tensor,
        qtype: QType,
        axis: int | None,
        scale: torch.Tensor,
        activation_qtype: QType | None = None,
        optimized: bool = True,
    ) -> "WeightQBytesTensor":
        """Quantize by a scale; the gradient passes straight to `base`."""
        result: WeightQBytesTensor = QuantizeBytes.apply(  # type: ignore[no-untyped-call]
            base, qtype, axis, scale, activation_qtype
        )
        return result

    @classmethod
    def load_from_state_dict(
        cls,
        state_dict: Mapping[str, torch.Tensor],
        prefix: str,
        qtype: QType,
        axis: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        activation_qtype: QType | None,
        missing_keys: list[str],
    ) -> Self | None:
        """The weight of these inner tensors, or None and what lacks in `missing_keys`."""
        inner = cls._state(state_dict, prefix, ("_data", "_scale"), missing_keys)
        if inner is None:
            return None
        return cls(qtype, axis, size, stride, inner[0], inner[1], activation_qtype)

    def weight_qbytes_tensor(self) -> "WeightQBytesTensor":
        """This weight in the canonical layout."""
        return self

    def linear(self, input: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """`input @ self.T + bias`, on the codes where they are a matrix along axis 0."""
        if not self._direct:
            return qfallback(torch.nn.functional.linear, input, self.dequantize(), bias)
        return linear(input, self._data, self._scale, None, bias, 8, None, self._out_features, self)

    def operands(self, bias: torch.Tensor | None) -> Operands:
        """The arguments of a linear layer's operator, for a matrix along axis 0."""
        return self._data, self._scale, None, bias, 8, None, self._out_features

    def _facts(self) -> dict[str, Any]:
        activation = self.activation_qtype
        name = None if activation is None else activation.name
        return {"qtype": self._qtype.name, "axis": self._axis, "activation_qtype": name}

    @classmethod
    def _build(
        cls,
        inner: Mapping[str, torch.Tensor],
        facts: Mapping[str, Any],
        size: Sequence[int],
        stride: Sequence[int],
    ) -> Self:
        activation = facts["activation_qtype"]
        return cls(
            qtypes[facts["qtype"]],
            facts["axis"],
            size,
            stride,
            inner["_data"],
            inner["_scale"],
            None if activation is None else qtypes[activation],
        )

    def _rows(self, start: int, stop: int) -> Self | None:
        if self.shape != self._data.shape:
            return None
        scale = self._scale[start:stop] if self._axis == 0 else self._scale
        data = self._data[start:stop]
        return self._with({"_data": data, "_scale": scale}, data.shape)

    def _requantized(self, values: torch.Tensor) -> Self:
        base = values.reshape(self._data.shape)
        dtype, axis, scale = self._qtype.dtype, self._axis, self._scale
        data = library.quantize_symmetric(base, dtype, axis, scale)
        if not has_values(base) or not torch.equal(
            library.dequantize_symmetric(data, axis, scale), base
        ):
            scale = library.absmax_scale(base, self._qtype.name, axis)
            data = library.quantize_symmetric(base, dtype, axis, scale)
        return self._with({"_data": data, "_scale": scale})


class QuantizeBytes(torch.autograd.Function):
    """Quantize a weight; the gradient passes straight to the float one."""

    @staticmethod
    def forward(
        ctx: Any,
        base: torch.Tensor,
        qtype: QType,
        axis: int | None,
        scale: torch.Tensor,
        activation_qtype: QType | None,
    ) -> WeightQBytesTensor:
        """Quantize by these scales."""
        data = library.quantize_symmetric(base, qtype.dtype, axis, scale)
        stride = contiguous_stride(base.shape)
        return WeightQBytesTensor(qtype, axis, base.shape, stride, data, scale, activation_qtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradient as it is, to the float weight."""
        return grad, None, None, None, None


torch.serialization.add_safe_globals([WeightQBytesTensor])
