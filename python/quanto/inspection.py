# SPDX-License-Identifier: Apache-2.0
"""Why a module cannot be quantized, and who else holds its weight."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from .nn.qmodule import QModuleMixin, qmodule_class
from .qtype import qtype


def obstacle(
    module: nn.Module, weights: qtype | None, activations: qtype | None = None
) -> str | None:
    """Why this module cannot be quantized to these types; None if it can."""
    found = qmodule_class(module)
    if found is None:
        return f"{type(module).__name__} has no quantized counterpart"
    if isinstance(module, QModuleMixin):
        return _requantization(module, weights, activations)
    if parametrize.is_parametrized(module):
        return "its weight is parametrized"
    if _has_own_forward(module, found[0]):
        return f"{type(module).__name__} has a forward of its own"
    if not found[1].quantizes_weight:
        return None
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    if is_lazy(weight):
        return "its weight is not initialized"
    if weight.numel() == 0:
        return "its weight is empty"
    return found[1].obstacle(module)


def _has_own_forward(module: nn.Module, base: type[nn.Module]) -> bool:
    """Whether its forward, or a method that does the work of it, is not that of `base`."""
    return any(
        getattr(type(module), name) is not getattr(base, name) or name in module.__dict__
        for name in ("forward", "_conv_forward")
        if hasattr(base, name)
    )


def _requantization(
    module: QModuleMixin, weights: qtype | None, activations: qtype | None
) -> str | None:
    kept = weights is None or weights is module.weight_qtype
    if not module.frozen or (activations is not None and kept):
        return None
    assert module.weight_qtype is not None
    return f"frozen as {module.weight_qtype.name}"


def only_when_named(module: nn.Module) -> bool:
    """Whether `quantize` replaces modules of this kind only where `include` names them."""
    found = qmodule_class(module)
    return found is not None and found[1].only_when_named


@dataclass(frozen=True)
class Sharer:
    """A module that holds a weight under `leaf`; `name` is the weight's full one."""

    name: str
    leaf: str
    module: nn.Module


def sharers(model: nn.Module) -> dict[int, list[Sharer]]:
    """By the id of a module that can be quantized: the others that hold its weight.

    Only where one of them is of another kind, those of other kinds first: two linear layers of one
    weight are nothing to take care of.
    """
    found: dict[int, list[Sharer]] = {}
    for holders in _holders(model).values():
        for sharer in holders:
            kind = qmodule_class(sharer.module)
            others = [other for other in holders if other is not sharer]
            others.sort(key=lambda other: qmodule_class(other.module) == kind)
            if kind is None or sharer.leaf != "weight" or not others:
                continue
            if qmodule_class(others[0].module) != kind:
                found[id(sharer.module)] = others
    return found


def _holders(model: nn.Module) -> dict[int, list[Sharer]]:
    """Who holds each parameter."""
    holders: dict[int, list[Sharer]] = {}
    for name, module in model.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                full = f"{name}.{leaf}" if name else leaf
                holders.setdefault(id(parameter), []).append(Sharer(full, leaf, module))
    return holders


def tied_to_other(model: nn.Module) -> dict[int, str]:
    """By the id of a module that would be quantized: what of another kind owns its weight."""
    modules = {id(module): module for module in model.modules()}
    return {
        identity: others[0].name
        for identity, others in sharers(model).items()
        if not only_when_named(modules[identity])
    }
