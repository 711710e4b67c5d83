# SPDX-License-Identifier: Apache-2.0
"""What the quantized weights have in common."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from typing_extensions import Self

from ..exporting import run_torch
from ..fallback import qfallback, run_dense
from ..qtensor import QTensor, plain_tensors

HANDLERS: dict[Any, Callable[..., Any]] = {}  # by operator, filled by dispatch.py


# What a linear layer's operator takes beside the input: data, scale, shift, bias, bits, group_size,
# out_features.
Operands = tuple[
    torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None, int, int | None, int
]


class WeightQTensor(QTensor):
    """A quantized weight: lives in an `nn.Parameter`, keeps its codes through moves and copies.

    Operators that are not known here run on the dequantized values; one that writes to the weight
    has its result quantized back into place with the weight's own scheme.
    """

    def linear(self, input: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """`input @ self.T + bias`."""
        raise NotImplementedError

    def operands(self, bias: torch.Tensor | None) -> Operands:
        """The arguments of a linear layer's operator, for a matrix along axis 0."""
        raise NotImplementedError

    def optimize(self) -> Self:
        """The fastest layout for this device: the canonical one, on which kernels run directly."""
        return self

    def _rows(self, start: int, stop: int) -> Self | None:
        """The weight of these output features, or None if this layout cannot be cut so."""
        raise NotImplementedError

    def _requantized(self, values: torch.Tensor) -> Self:
        """Other values in the same scheme; scales are kept where they give the values exactly."""
        raise NotImplementedError

    def _written(self) -> None:
        """Called when the codes have changed."""

    @property
    def _viewable(self) -> bool:
        """Whether another contiguous size describes the same codes."""
        return True

    def _like(self, other: object) -> bool:
        """Whether the other one's inner tensors can be copied into ours as they are."""
        if not isinstance(other, WeightQTensor) or self._facts() != other._facts():
            return False
        pairs = zip(plain_tensors(self), plain_tensors(other), strict=True)
        return all(mine.shape == theirs.shape for mine, theirs in pairs)

    def _copy(self, source: torch.Tensor, non_blocking: bool = False) -> None:
        if not self._like(source):
            dense = source.dequantize() if isinstance(source, QTensor) else source
            source = self._requantized(dense.to(self.device, self.dtype).expand(self.shape))
        for mine, theirs in zip(plain_tensors(self), plain_tensors(source), strict=True):  # type: ignore[arg-type]
            mine.copy_(theirs, non_blocking=non_blocking)
        self._written()

    @property
    def data(self) -> torch.Tensor:
        """The weight without its gradient; assigning replaces the codes."""
        with torch._C.DisableTorchFunctionSubclass():
            return torch.Tensor.data.__get__(self)  # type: ignore[attr-defined,no-any-return]

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        if not isinstance(value, type(self)):
            if value.shape != self.shape:
                raise ValueError(
                    f"weight.data: expected shape {tuple(self.shape)}, got {tuple(value.shape)}"
                )
            value = self._requantized(value.detach().to(self.device, self.dtype))
        with torch._C.DisableTorchFunctionSubclass():
            torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.__dict__.update(self._with(value._inner()).__dict__)

    def __setitem__(self, index: Any, value: Any) -> None:
        values = self.detach().dequantize()
        values[index] = value.dequantize() if isinstance(value, QTensor) else value
        with torch.no_grad():
            self.copy_(values)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.nn.functional.linear:
            return linear_function(*args, **kwargs)
        if func is torch.equal and isinstance(args[0], QTensor):
            return args[0].equal(args[1])
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
        return run_dense(func, args, kwargs or {})

    @staticmethod
    def _state(
        state_dict: Mapping[str, torch.Tensor],
        prefix: str,
        names: tuple[str, ...],
        missing_keys: list[str],
    ) -> list[torch.Tensor] | None:
        """The tensors of these names, or None and their full names in `missing_keys`."""
        missing = [prefix + name for name in names if prefix + name not in state_dict]
        missing_keys.extend(missing)
        return None if missing else [state_dict[prefix + name] for name in names]


def linear_function(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """`F.linear` where some of the tensors are quantized."""
    if isinstance(weight, WeightQTensor):
        return weight.linear(input, bias)
    return qfallback(torch.nn.functional.linear, input, weight, bias)
