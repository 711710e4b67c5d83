# SPDX-License-Identifier: Apache-2.0
"""Activations of 8 bits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from typing_extensions import Self

from ... import library
from ...qtype import qtype as QType
from ...qtype import qtypes
from ..core import has_values
from ..exporting import recording, run_torch
from ..fallback import run_dense
from ..qbytes import QBytesTensor
from ..qtensor import QTensor

HANDLERS: dict[Any, Callable[..., Any]] = {}  # by operator, filled by dispatch.py
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # by torch function, filled there too


class ActivationQBytesTensor(QBytesTensor):
    """An activation of 8-bit codes, int8 or float8, under one 0-d scale: `scale * data`.

    Views keep the codes, as do the operators of dispatch.py. All others run on the dequantized
    values; what they write is quantized back into place. `src_module` is the quantized module that
    made it, while a calibration runs; it is not pickled.
    """

    src_module: Any
    _viewed: bool

    @staticmethod
    def __new__(
        cls,
        qtype: QType,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        requires_grad: bool = False,
    ) -> "ActivationQBytesTensor":
        """A tensor of that geometry without storage; see the class."""
        return torch.Tensor._make_wrapper_subclass(
            cls,
            size,
            strides=stride,
            dtype=scale.dtype,
            device=data.device,
            requires_grad=requires_grad,
        )

    def __init__(
        self,
        qtype: QType,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        requires_grad: bool = False,
    ) -> None:
        self._qtype = qtype
        self._axis = None
        self._data = data
        self._scale = scale

    @classmethod
    def of(cls, qtype: QType, data: torch.Tensor, scale: torch.Tensor) -> Self:
        """The activation of these codes, in their own geometry.

        The constructor's work without its calls, which cost as much as the operators that end here.
        """
        if torch.compiler.is_compiling():
            return cls(qtype, data.shape, data.stride(), data, scale)
        made = torch.Tensor._make_wrapper_subclass(
            cls, data.shape, strides=data.stride(), dtype=scale.dtype, device=data.device
        )
        made._qtype, made._axis, made._data, made._scale = qtype, None, data, scale
        return made

    @classmethod
    def quantize(
        cls, base: torch.Tensor, qtype: QType, scale: torch.Tensor
    ) -> "ActivationQBytesTensor":
        """Quantize by a 0-d scale of base's dtype; the gradient passes straight to `base`."""
        if qtype.bits != 8:
            raise ValueError(f"quantize_activation: expected an 8-bit type, got {qtype.name}")
        if isinstance(base, QTensor):
            base = base.dequantize()
        if torch.is_grad_enabled() and base.requires_grad:
            result: ActivationQBytesTensor = Quantize.apply(base, qtype, scale)  # type: ignore[no-untyped-call]
            return result
        data = library.quantize_symmetric(base, qtype.dtype, None, scale)
        return cls.of(qtype, data, scale)

    def _facts(self) -> dict[str, Any]:
        return {"qtype": self._qtype.name}

    def __tensor_flatten__(self) -> tuple[list[str], dict[str, Any]]:
        if recording():  # by what would make a result a constant
            raise ValueError(
                f"torch.export: expected plain results, got codes of {self._qtype.name}: "
                "call dequantize() on them in forward(), or calibrate with streamline=True"
            )
        return super().__tensor_flatten__()

    @classmethod
    def _build(
        cls,
        inner: Mapping[str, torch.Tensor],
        facts: Mapping[str, Any],
        size: Sequence[int],
        stride: Sequence[int],
    ) -> Self:
        return cls(qtypes[facts["qtype"]], size, stride, inner["_data"], inner["_scale"])

    def with_codes(self, data: torch.Tensor) -> Self:
        """Other codes, in their own geometry, under the same scale."""
        return self.of(self._qtype, data, self._scale)

    def view_of(self, data: torch.Tensor) -> Self:
        """`with_codes` where `data` is a view of the codes."""
        view = self.with_codes(data)
        view._viewed = True
        return view

    def _copy(self, source: torch.Tensor, non_blocking: bool = False) -> None:
        """Take the values of `source`.

        With a scale of their own, unless this is a view: then they must fit the scale it shares.
        """
        viewed = "_viewed" in self.__dict__
        codes = isinstance(source, ActivationQBytesTensor) and source._qtype == self._qtype
        if codes and not viewed:
            data = source._data.to(self.device, copy=True, non_blocking=non_blocking)  # type: ignore[attr-defined]
            self._data = data.expand(self.shape).contiguous()
            self._scale = source._scale.to(self.device, self.dtype)  # type: ignore[attr-defined]
            return
        values = source.dequantize() if isinstance(source, QTensor) else source.detach()
        values = values.to(self.device, self.dtype).expand(self.shape)
        scale = library.absmax_scale(values.contiguous(), self._qtype.name, None)
        if viewed:
            self._check_fit(scale)
            scale = self._scale
        data = library.quantize_symmetric(values.contiguous(), self._qtype.dtype, None, scale)
        if viewed:
            self._data.copy_(data)
        else:
            self._data, self._scale = data, scale

    def _check_fit(self, scale: torch.Tensor) -> None:
        # Half a step beyond the largest code still rounds to it.
        room = self._scale.double() * (1 + 0.5 / self._qtype.qmax)
        if has_values(scale) and bool(scale > room):
            raise ValueError(
                "ActivationQBytesTensor: expected values that fit the scale of the tensor this is "
                f"a view of, got {scale.item() * self._qtype.qmax:g} beyond "
                f"{self._scale.item() * self._qtype.qmax:g}: write to the whole, or dequantize()"
            )

    def __setitem__(self, index: Any, value: Any) -> None:
        values = self.detach().dequantize()
        values[index] = value.dequantize() if isinstance(value, QTensor) else value
        with torch.no_grad():
            self.copy_(values)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        rebuild, arguments = super().__reduce_ex__(protocol)
        extra = {k: v for k, v in arguments[-1].items() if k not in ("src_module", "_viewed")}
        return rebuild, (*arguments[:-1], extra)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = FUNCTIONS.get(func)
        if handler is not None:
            return handler(*args, **kwargs)
        return run_torch(func, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = HANDLERS.get(func.overloadpacket)
        if handler is not None:
            result = handler(func, *args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        elif func.is_view and isinstance(args[0], ActivationQBytesTensor):
            return _view(func, args, kwargs or {})
        return run_dense(func, args, kwargs or {})


def _view(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Every view of codes under one scale is a view of the tensor."""
    q: ActivationQBytesTensor = args[0]
    if any(isinstance(arg, torch.dtype) for arg in (*args, *kwargs.values())):
        return run_dense(func, args, kwargs)
    result = func(q._data, *args[1:], **kwargs)
    if isinstance(result, torch.Tensor):
        return q.view_of(result)
    return [q.view_of(part) for part in result]


class Quantize(torch.autograd.Function):
    """Quantize an activation; the gradient passes straight to the float one."""

    @staticmethod
    def forward(
        ctx: Any, base: torch.Tensor, qtype: QType, scale: torch.Tensor
    ) -> ActivationQBytesTensor:
        """Quantize by this scale."""
        data = library.quantize_symmetric(base, qtype.dtype, None, scale)
        return ActivationQBytesTensor.of(qtype, data, scale)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradient as it is, to the float activation."""
        return grad, None, None


torch.serialization.add_safe_globals([ActivationQBytesTensor])
