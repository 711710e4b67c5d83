"""What every quantized module has, and the table of which modules have a quantized counterpart."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from .. import library
from ..qtype import as_qtype, qtype
from ..tensor.optimizers import AbsmaxOptimizer, MaxOptimizer, Optimizer, SymmetricOptimizer
from ..tensor.qtensor import QTensor, named_plain_tensors
from ..tensor.weights import WeightQBitsTensor, WeightQBytesTensor, quantize_weight
from .state import load_module_state, save_module_state

QModule = TypeVar("QModule", bound="type[QModuleMixin]")

_QMODULES: dict[type[nn.Module], "type[QModuleMixin]"] = {}
_CARRIED = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def register_qmodule(module_cls: type[nn.Module]) -> Callable[[QModule], QModule]:
    """Class decorator: this is the quantized counterpart of `module_cls`."""

    def wrapper(cls: QModule) -> QModule:
        _QMODULES[module_cls] = cls
        return cls

    return wrapper


def qmodule_class(module: nn.Module) -> "tuple[type[nn.Module], type[QModuleMixin]] | None":
    """The registered class of which the module is an instance, and its counterpart."""
    for module_cls, cls in _QMODULES.items():
        if isinstance(module, module_cls):
            return module_cls, cls
    return None


def quantize_module(
    module: nn.Module,
    weights: qtype | str | None = None,
    activations: qtype | str | None = None,
    optimizer: Optimizer | None = None,
    group_size: int | None = None,
) -> "QModuleMixin | None":
    """The quantized counterpart of a module, sharing its weight, or None if there is none."""
    found = qmodule_class(module)
    if found is None:
        return None
    return found[1].from_module(module, weights, activations, optimizer, group_size)


def default_optimizer(weights: qtype) -> Optimizer:
    """Absmax for 8 bits, max for less."""
    return AbsmaxOptimizer() if weights.bits == 8 else MaxOptimizer()


def check_optimizer(op: str, weights: qtype, optimizer: Optimizer) -> None:
    """Raise unless the optimizer gives what the type needs: a scale, or a scale and a shift."""
    if (weights.bits == 8) != isinstance(optimizer, SymmetricOptimizer):
        kind = "a SymmetricOptimizer" if weights.bits == 8 else "an AffineOptimizer"
        raise ValueError(
            f"{op}: expected {kind} for {weights.name}, got {type(optimizer).__name__}"
        )


def check_group_size(op: str, weights: qtype, group_size: int, elements: int) -> None:
    """Raise unless outputs of that many elements can be cut into such groups."""
    if weights.bits == 8:
        raise ValueError(f"{op}: expected no group_size for {weights.name}, got {group_size}")
    if group_size < 1 or elements % group_size != 0:
        raise ValueError(f"{op}: expected group_size to divide {elements}, got {group_size}")


class QModuleMixin:
    """Mixed in before a torch module: quantizes its weight, while training or once for all.

    Until `freeze` the weight is float and is quantized in every forward; the gradient passes
    straight to it. After it the weight is a `QTensor` in an `nn.Parameter`.
    """

    weight: torch.Tensor
    bias: Any
    input_scale: torch.Tensor
    output_scale: torch.Tensor

    def __init__(
        self,
        *args: Any,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        optimizer: Optimizer | None = None,
        quantize_input: bool = False,
        device: torch.device | str | None = None,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        if not isinstance(self, nn.Module):
            raise TypeError(f"{name}: expected an nn.Module among the bases after QModuleMixin")
        if activations is not None:
            raise NotImplementedError(f"{name}: quantized activations are not implemented yet")
        if weights is None:
            raise ValueError(f"{name}: expected a type for weights, got None")
        self_type = as_qtype(weights)
        optimizer = optimizer or default_optimizer(self_type)
        check_optimizer(name, self_type, optimizer)
        super().__init__(*args, device=device, **kwargs)  # type: ignore[call-arg]
        self.weight_qtype: qtype = self_type
        self.activation_qtype: qtype | None = None
        self.optimizer = optimizer
        self.weight_group_size = self._automatic_group_size()
        for buffer in ("input_scale", "output_scale"):
            one = torch.ones((), dtype=self.weight.dtype, device=self.weight.device)
            self.register_buffer(buffer, one)

    def _automatic_group_size(self) -> int | None:
        if self.weight_qtype.bits == 8 or self.weight.numel() == 0:
            return None
        elements = self.weight.numel() // self.weight.shape[0]
        return library.automatic_group_size(elements)

    @classmethod
    def qcreate(
        cls,
        module: nn.Module,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        optimizer: Optimizer | None = None,
        device: torch.device | str | None = None,
    ) -> "QModuleMixin":
        """A quantized module of the same configuration, its weight not set."""
        raise NotImplementedError

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        optimizer: Optimizer | None = None,
        group_size: int | None = None,
    ) -> "QModuleMixin":
        """The quantized counterpart of a module; weight, bias and forward hooks are shared."""
        qmodule = cls.qcreate(module, weights, activations, optimizer, device="meta")
        assert isinstance(qmodule, nn.Module)
        weight, wanted = module.weight, qmodule.weight_qtype
        assert isinstance(weight, torch.Tensor)
        if group_size is not None:
            check_group_size(cls.__name__, wanted, group_size, weight.numel() // weight.shape[0])
            qmodule.weight_group_size = group_size
        qmodule.weight, qmodule.bias = weight, module.bias
        for buffer in ("input_scale", "output_scale"):
            one = torch.ones((), dtype=weight.dtype, device=weight.device)
            setattr(qmodule, buffer, getattr(module, buffer, one))
        for hooks in _CARRIED:
            getattr(qmodule, hooks).update(getattr(module, hooks))
        return qmodule.train(module.training)

    def _scales(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if isinstance(self.optimizer, SymmetricOptimizer):
            return self.optimizer(weight, self.weight_qtype, 0), None
        scale, shift = self.optimizer(weight, self.weight_qtype, 0, self.weight_group_size)
        return scale, shift

    def codes(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Data (packed for 4 and 2 bits), scale and shift of a float weight, without a gradient."""
        scale, shift = self._scales(weight)
        if shift is None:
            axis = 0 if scale.ndim else None
            dtype = self.weight_qtype.dtype
            return library.quantize_symmetric(weight, dtype, axis, scale), scale, None
        bits = self.weight_qtype.bits
        data = library.quantize_affine(weight, bits, 0, self.weight_group_size, scale, shift)
        return library.pack(data, bits), scale, shift

    def quantized(self, weight: torch.Tensor) -> WeightQBytesTensor | WeightQBitsTensor:
        """A float weight quantized, differentiable in it."""
        scale, shift = self._scales(weight)
        kind, group_size = self.weight_qtype, self.weight_group_size
        return quantize_weight(weight, kind, 0, scale, shift, group_size, self.activation_qtype)

    @property
    def qweight(self) -> WeightQBytesTensor | WeightQBitsTensor:
        """The weight quantized now, differentiable; the weight itself when frozen."""
        weight = self.weight
        if isinstance(weight, (WeightQBytesTensor, WeightQBitsTensor)):
            return weight
        return self.quantized(weight)

    @torch.no_grad()
    def freeze(self) -> None:
        """Replace the float weight by the quantized one; nothing if it is quantized already."""
        qweight = self.qweight
        if qweight is not self.weight:
            self.weight = nn.Parameter(qweight, requires_grad=False)

    @property
    def frozen(self) -> bool:
        """Whether the weight is quantized for good."""
        return isinstance(self.weight, QTensor)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)  # type: ignore[misc]
        save_module_state(self, destination, prefix, keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        load = super()._load_from_state_dict  # type: ignore[misc]
        reports = (missing_keys, unexpected_keys, error_msgs)
        load_module_state(self, load, state_dict, prefix, local_metadata, strict, reports)

    # Asked directly, a frozen module names its inner tensors as its state dict does, and reads and
    # writes them by these names: accelerate offloads and FSDP2 shards them as the plain tensors
    # they are.

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of the torch module, with the inner tensors in the place of a quantized weight."""
        members = super().named_parameters(prefix, recurse, remove_duplicate)  # type: ignore[misc]
        for name, parameter in members:
            if isinstance(parameter, QTensor):
                yield from named_plain_tensors(parameter, f"{name}.").items()  # type: ignore[misc]
            else:
                yield name, parameter

    def __getattr__(self, name: str) -> Any:
        if "." in name:
            owner, _, leaf = name.rpartition(".")
            return getattr(getattr(self, owner), leaf)
        return super().__getattr__(name)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        if "." in name:
            owner, _, leaf = name.rpartition(".")
            target = getattr(self, owner)
            if isinstance(target, WeightQBytesTensor) and leaf == "_data":
                # FSDP2 casts float8 codes to the dtype of mixed precision, which holds them exactly
                value = value.detach().to(target.qtype.dtype)
            setattr(target, leaf, value)
        else:
            super().__setattr__(name, value)
