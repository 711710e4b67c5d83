# SPDX-License-Identifier: Apache-2.0
"""What every quantized module has, and the table of which modules have a quantized counterpart."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from .. import library
from ..qtype import as_qtype, qtype
from ..tensor.optimizers import AbsmaxOptimizer, MaxOptimizer, Optimizer, SymmetricOptimizer
from ..tensor.qtensor import QTensor
from ..tensor.weights import WeightQBitsTensor, WeightQBytesTensor, quantize_weight
from .activations import OWN_HOOKS, QuantizedActivations, activation_type
from .inner import NamedInnerTensors
from .kind import QModuleKind
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
_SCALES = ("input_scale", "output_scale")


def register_qmodule(module_cls: type[nn.Module]) -> Callable[[QModule], QModule]:
    """Class decorator: this is the quantized counterpart of `module_cls`.

    ::

        @register_qmodule(nn.Conv1d)
        class QConv1d(QModuleMixin, nn.Conv1d):
            @classmethod
            def qcreate(cls, module, weights=None, activations=None, optimizer=None, device=None):
                return cls(
                    module.in_channels,
                    module.out_channels,
                    module.kernel_size,
                    module.stride,
                    module.padding,
                    bias=module.bias is not None,
                    dtype=module.weight.dtype,
                    device=device,
                    weights=weights,
                    activations=activations,
                    optimizer=optimizer,
                )

            def forward(self, input):
                return self._conv_forward(input, self.qweight, self.bias)

    `qcreate` makes a module whose weight is set by others. In the forward, `qweight` is the
    quantized weight; functions of torch run on its values. Inputs (with `quantize_input=True`) and
    outputs are quantized around the forward where activations are asked for. What else a class may
    say of itself stands in `QModuleKind`.
    """

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
    dynamic: bool = False,
) -> "QModuleMixin | None":
    """The quantized counterpart of a module, sharing its weight.

    None if there is none, if nothing of it would be quantized to these types, or if it is only made
    where it is asked for by name (`QEmbedding.from_module`).
    """
    found = qmodule_class(module)
    if found is not None and found[1].only_when_named:
        return None
    return counterpart(module, weights, activations, optimizer, group_size, dynamic)


def counterpart(
    module: nn.Module,
    weights: qtype | str | None = None,
    activations: qtype | str | None = None,
    optimizer: Optimizer | None = None,
    group_size: int | None = None,
    dynamic: bool = False,
) -> "QModuleMixin | None":
    """As `quantize_module`, of every kind."""
    found = qmodule_class(module)
    if found is None or not found[1].applies(activations, dynamic):
        return None
    cls = found[1]
    if not cls.quantizes_weight:
        weights = optimizer = group_size = None
    return cls.from_module(module, weights, activations, optimizer, group_size, dynamic)


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


def _one_like(
    weight: torch.Tensor | None, device: torch.device | str | None = None
) -> torch.Tensor:
    """A scale that no calibration has set; in float32 where there is no weight."""
    if weight is None:
        return torch.ones((), device=device)
    return torch.ones((), dtype=weight.dtype, device=weight.device)


class QModuleMixin(NamedInnerTensors, QuantizedActivations, QModuleKind):
    """Mixed in before a torch module: quantizes its weight, while training or once for all.

    Until `freeze` the weight is float and is quantized in every forward; the gradient passes
    straight to it. After it the weight is a `QTensor` in an `nn.Parameter`.

    Attributes:
        weight_qtype: the type of the weight; None where it stays float (a layer norm).
        weight_group_size: elements that share a scale; None for one scale per output.
        optimizer: how the scales of the weight are chosen.

    Those of activations are on `QuantizedActivations`.
    """

    weight: torch.Tensor
    bias: Any

    def __init__(
        self,
        *args: Any,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        optimizer: Optimizer | None = None,
        quantize_input: bool = False,
        device: torch.device | str | None = None,
        dynamic: bool = False,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        if not isinstance(self, nn.Module):
            raise TypeError(f"{name}: expected an nn.Module among the bases after QModuleMixin")
        kind = None if weights is None else as_qtype(weights)
        self._check_types(kind, activations)
        if kind is not None:
            optimizer = optimizer or default_optimizer(kind)
            check_optimizer(name, kind, optimizer)
        super().__init__(*args, device=device, **kwargs)  # type: ignore[call-arg]
        self.weight_qtype: qtype | None = kind
        self.optimizer = optimizer
        self.weight_group_size = self._automatic_group_size()
        self._init_activations(activations, quantize_input, dynamic)
        dtype = None if self.weight is None else self.weight.dtype
        for buffer in _SCALES:
            # Not on the weight's device: under accelerate's init_empty_weights that alone is meta.
            self.register_buffer(buffer, torch.ones((), dtype=dtype, device=device))

    def _check_types(self, weights: qtype | None, activations: qtype | str | None) -> None:
        """Raise unless there is something to quantize, and a type for a weight that must be."""
        name = type(self).__name__
        activation_type(name, activations)
        if weights is not None:
            return
        if activations is None:
            raise ValueError(f"{name}: expected a type for weights, got None")
        if self.quantizes_weight and self.handles_activations:
            raise TypeError(f"{name}: expected a type for weights with activations, got None")

    def _automatic_group_size(self) -> int | None:
        if self.weight_qtype is None or self.weight_qtype.bits == 8 or self.weight.numel() == 0:
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
        dynamic: bool = False,
    ) -> "QModuleMixin":
        """The quantized counterpart of a module; weight, bias and forward hooks are shared.

        With `dynamic`, inputs take a scale per token and outputs stay float.
        """
        qmodule = cls.qcreate(module, weights, activations, optimizer, device="meta")
        if not isinstance(qmodule, nn.Module):
            raise TypeError(f"{cls.__name__}: expected qcreate to return a module, got {qmodule}")
        weight, wanted = module.weight, qmodule.weight_qtype
        if group_size is not None:
            assert isinstance(weight, torch.Tensor)
            assert wanted is not None
            check_group_size(cls.__name__, wanted, group_size, weight.numel() // weight.shape[0])
            qmodule.weight_group_size = group_size
        if dynamic:
            qmodule.make_dynamic()
        for name in ("weight", "bias"):
            if name in module._parameters or name in qmodule._parameters:
                setattr(qmodule, name, getattr(module, name))
        for buffer in _SCALES:
            setattr(qmodule, buffer, _one_like(weight))  # type: ignore[arg-type]
        if isinstance(module, QModuleMixin):
            qmodule.keep_calibration(module)
        for hooks in _CARRIED:
            carried = {k: f for k, f in getattr(module, hooks).items() if f not in OWN_HOOKS}
            getattr(qmodule, hooks).update(carried)
        return qmodule.train(module.training)

    def _scales(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        assert self.weight_qtype is not None
        assert self.optimizer is not None
        if isinstance(self.optimizer, SymmetricOptimizer):
            return self.optimizer(weight, self.weight_qtype, 0), None
        scale, shift = self.optimizer(weight, self.weight_qtype, 0, self.weight_group_size)
        return scale, shift

    def codes(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Data (packed for 4 and 2 bits), scale and shift of a float weight, without a gradient."""
        scale, shift = self._scales(weight)
        assert self.weight_qtype is not None
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
        assert kind is not None
        return quantize_weight(weight, kind, 0, scale, shift, group_size, self.activation_qtype)

    @property
    def qweight(self) -> WeightQBytesTensor | WeightQBitsTensor | None:
        """The weight quantized now, differentiable; itself when frozen; None without a type."""
        weight = self.weight
        if self.weight_qtype is None:
            return None
        if isinstance(weight, (WeightQBytesTensor, WeightQBitsTensor)):
            return weight
        return self.quantized(weight)

    @torch.no_grad()
    def freeze(self) -> None:
        """Replace the float weight by the quantized one; nothing if it is quantized already."""
        qweight = self.qweight
        if qweight is not None and qweight is not self.weight:
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
