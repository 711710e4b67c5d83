# SPDX-License-Identifier: Apache-2.0
"""What every quantized tensor is."""

from typing import Any

import torch

from ..qtype import qtype as QType
from .wrapper import WrapperTensor


class QTensor(WrapperTensor):
    """A tensor of quantized codes; its dtype is that of its scale.

    `axis` is the one along which scales differ: 0, -1, or None if there is one scale.
    """

    _scale: torch.Tensor

    def __init__(self, qtype: QType, axis: int | None) -> None:
        self._qtype = qtype
        self._axis = axis

    @property
    def axis(self) -> int | None:
        """Along which scales differ."""
        return self._axis

    @property
    def qtype(self) -> QType:
        """The type of the codes."""
        return self._qtype

    def _dequantize(self) -> torch.Tensor:
        """The values, without a gradient."""
        raise NotImplementedError

    def dequantize(self) -> torch.Tensor:
        """The values; their gradient passes unchanged."""
        if torch.is_grad_enabled() and self.requires_grad:
            result: torch.Tensor = Dequantize.apply(self)  # type: ignore[no-untyped-call]
            return result
        return self._dequantize()

    def save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool = False
    ) -> None:
        """Store the plain tensors under their names, `prefix` before each."""
        _save(self, destination, prefix, keep_vars)

    def equal(self, other: torch.Tensor) -> bool:
        """Whether type, scheme and all codes, scales and shifts are equal."""
        if type(self) is not type(other) or self._facts() != other._facts():
            return False
        if self.size() != other.size():
            return False
        return same_codes(self, other)

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        """The values as a numpy array."""
        return self.dequantize().numpy(*args, **kwargs)

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self.dequantize().tolist()


def same_codes(left: QTensor, right: QTensor) -> bool:
    """Whether two tensors of one scheme have equal codes, scales and shifts."""
    pairs = zip(plain_tensors(left), plain_tensors(right), strict=True)
    return all(torch.equal(_comparable(mine), _comparable(theirs)) for mine, theirs in pairs)


def _comparable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or its bytes: torch compares no float8."""
    return tensor.view(torch.uint8) if tensor.dtype.itemsize == 1 else tensor


class Dequantize(torch.autograd.Function):
    """Values of a quantized tensor; the gradient passes through, as codes have none."""

    @staticmethod
    def forward(ctx: Any, q: QTensor) -> torch.Tensor:
        """The values."""
        return q._dequantize()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        """The gradient as it is."""
        return grad


def plain_tensors(wrapper: WrapperTensor, prefix: str = "") -> list[torch.Tensor]:
    """All tensors a wrapper is made of, in the order of its state dict."""
    return list(named_plain_tensors(wrapper, prefix).values())


def named_plain_tensors(wrapper: WrapperTensor, prefix: str = "") -> dict[str, torch.Tensor]:
    """The same by name, as they are named in a state dict."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in wrapper._inner().items():
        if isinstance(tensor, WrapperTensor):
            found.update(named_plain_tensors(tensor, f"{prefix}{name}."))
        else:
            found[prefix + name] = tensor
    return found


def _save(
    wrapper: WrapperTensor, destination: dict[str, Any], prefix: str, keep_vars: bool
) -> None:
    for name, tensor in named_plain_tensors(wrapper, prefix).items():
        destination[name] = tensor if keep_vars else tensor.detach()
