# SPDX-License-Identifier: Apache-2.0
"""Quantizing whole models."""

import logging
import warnings

import torch
from torch import nn

from .freezing import freeze
from .mapping import quantization_map
from .nn.activations import new_notice
from .nn.qmodule import (
    QModuleMixin,
    check_group_size,
    check_optimizer,
    counterpart,
    default_optimizer,
    qmodule_class,
)
from .nn.state import FLOATS
from .qtype import as_qtype, qtype
from .requantize import requantize
from .selection import Patterns, Types, patterns_of, select
from .tensor.optimizers import Optimizer

__all__ = ["freeze", "quantization_map", "quantize", "requantize"]

logger = logging.getLogger("quanto")


def quantize(
    model: nn.Module,
    weights: qtype | str | None = None,
    activations: qtype | str | None = None,
    optimizer: Optimizer | None = None,
    include: Patterns = None,
    exclude: Patterns = None,
    *,
    group_size: int | None = None,
    dynamic: bool = False,
) -> None:
    """Replace, in place, every submodule that has a quantized counterpart; weights stay float.

    Args:
        model: its submodules are replaced, never the model itself.
        weights: a type or the name of one, "int8" and "qint8" alike.
        activations: an 8-bit type for the inputs and outputs of the modules; their scales come
            from a `Calibration`.
        optimizer: how scales of weights are chosen; default absmax for 8 bits, max for 4 and 2.
        include, exclude: `fnmatch` patterns of dotted module names; exclude wins.
        group_size: elements that share a scale, for 4 and 2 bits; must divide the elements of one
            output of every module. Default: the first of 128, 96, 64, 32 that divides, if there are
            more than 128.
        dynamic: activations take their scales from the values at hand, one for each token (or
            image), and need no calibration; outputs stay float.

    Layer norms are replaced where static activations are asked for: their outputs are quantized,
    their weights never. Embeddings are replaced only where `include` names them by their own name
    ("model.embed_tokens" or "*embed*", not "*" or "model.*"). An output head whose weight is also
    that of an embedding stays float, with one warning, unless `include` names one of the two: then
    both are quantized and share one weight.

    Modules that are quantized but not frozen are quantized anew. A frozen one keeps its weight:
    activations can be added to it, another type leaves it as it is, with a warning.

    Raises, before anything is changed:
        ValueError: neither type is given, weights lack a type, activations are not of 8 bits,
            dynamic has no activations, the optimizer or the group size does not fit, a pattern
            matches nothing, or nothing can be quantized.
        UnknownQTypeError: a KeyError and a ValueError, for a name that is none of a type.
        TypeError: a weight is not of float32, float16 or bfloat16.
    """
    types = _types(weights, activations, dynamic)
    optimizer = _optimizer(types, optimizer, group_size)
    selection = select(
        model, types, None if include is None else patterns_of(include), patterns_of(exclude)
    )
    for names, module in selection.chosen:
        _check(names[0], module, types, group_size)
    for message in selection.messages():
        warnings.warn(message, stacklevel=2)
    new_notice()
    qmodules = [
        (names, _replacement(module, types, optimizer, group_size))
        for names, module in selection.chosen
    ]
    for names, qmodule in qmodules:
        for name in names:
            set_submodule(model, name, qmodule)
    logger.info("quantize: %d modules to %s", len(selection.chosen), _described(types))


def _types(weights: qtype | str | None, activations: qtype | str | None, dynamic: bool) -> Types:
    types = Types(
        None if weights is None else as_qtype(weights),
        None if activations is None else as_qtype(activations),
        dynamic,
    )
    if types.weights is None and types.activations is None:
        raise ValueError("quantize: expected a type for weights or activations, got neither")
    if dynamic and types.activations is None:
        raise ValueError("quantize: expected a type for activations with dynamic, got none")
    if types.activations is not None and types.activations.bits != 8:
        name = types.activations.name
        raise ValueError(f"quantize: expected an 8-bit type for activations, got {name}")
    return types


def _optimizer(
    types: Types, optimizer: Optimizer | None, group_size: int | None
) -> Optimizer | None:
    if types.weights is None:
        for option, value in (("optimizer", optimizer), ("group_size", group_size)):
            if value is not None:
                raise ValueError(f"quantize: expected no {option} without weights, got {value}")
        return None
    optimizer = optimizer or default_optimizer(types.weights)
    check_optimizer("quantize", types.weights, optimizer)
    return optimizer


def _described(types: Types) -> str:
    parts = [] if types.weights is None else [str(types.weights)]
    if types.activations is not None:
        how = "dynamic " if types.dynamic else ""
        parts.append(f"{how}activations {types.activations}")
    return ", ".join(parts)


def _class_of(module: nn.Module) -> type[QModuleMixin]:
    found = qmodule_class(module)
    assert found is not None
    return found[1]


def _frozen(module: nn.Module) -> bool:
    return isinstance(module, QModuleMixin) and module.frozen


def _replacement(
    module: nn.Module, types: Types, optimizer: Optimizer | None, group_size: int | None
) -> nn.Module:
    """The module to put in the place of this one."""
    weights, kept = types.weights, module if _frozen(module) else None
    if kept is not None:
        assert isinstance(kept, QModuleMixin)
        weights, optimizer, group_size = kept.weight_qtype, kept.optimizer, None
    qmodule = counterpart(module, weights, types.activations, optimizer, group_size, types.dynamic)
    assert isinstance(qmodule, QModuleMixin)
    if isinstance(kept, QModuleMixin):
        qmodule.weight_group_size = kept.weight_group_size
    assert isinstance(qmodule, nn.Module)
    return qmodule


def set_submodule(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of that name, where its forward will be called."""
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
    module.name = name  # type: ignore[assignment]
    while parent:
        _leave_fused_path(model.get_submodule(parent))
        parent = parent.rpartition(".")[0]
    _leave_fused_path(model)


def _leave_fused_path(module: nn.Module) -> None:
    """Have torch's encoders call their layers: one fused function reads float weights otherwise."""
    if isinstance(module, nn.TransformerEncoderLayer):
        module.activation_relu_or_gelu = 0
    elif isinstance(module, nn.TransformerEncoder):
        module.use_nested_tensor = False


def _check(name: str, module: nn.Module, types: Types, group_size: int | None) -> None:
    weight = module.weight
    if isinstance(weight, torch.Tensor) and weight.dtype not in FLOATS:
        raise TypeError(
            f"quantize: expected {name}.weight of float32, float16 or bfloat16, got {weight.dtype}"
        )
    cls = _class_of(module)
    if types.dynamic and not cls.handles_activations:
        raise ValueError(
            f"quantize: expected static activations for {name}, as {cls.__name__} has no operator "
            "for dynamic ones, got dynamic"
        )
    if not cls.quantizes_weight or _frozen(module):
        return
    if types.weights is None:
        raise ValueError(
            f"quantize: expected a type for weights too, which {name} "
            f"({type(module).__name__}) has, got activations only"
        )
    if group_size is not None:
        assert isinstance(weight, torch.Tensor)
        elements = weight.numel() // weight.shape[0]
        check_group_size(f"quantize: {name}", types.weights, group_size, elements)
