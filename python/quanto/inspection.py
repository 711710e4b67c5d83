"""Why a module cannot be quantized."""

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from .nn.qmodule import QModuleMixin, qmodule_class
from .qtype import qtype


def obstacle(module: nn.Module, wanted: qtype) -> str | None:
    """Why this module, of a kind that can be quantized, cannot; None if it can."""
    found = qmodule_class(module)
    if found is None:
        return f"{type(module).__name__} has no quantized counterpart"
    if isinstance(module, QModuleMixin):
        return _requantization(module, wanted)
    if parametrize.is_parametrized(module):
        return "its weight is parametrized"
    if type(module).forward is not found[0].forward or "forward" in module.__dict__:
        return f"{type(module).__name__} has a forward of its own"
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    if is_lazy(weight):
        return "its weight is not initialized"
    if weight.numel() == 0:
        return "its weight is empty"
    return None


def _requantization(module: QModuleMixin, wanted: qtype) -> str | None:
    if not module.frozen:
        return None
    return f"frozen as {module.weight_qtype.name}"


def tied_to_other(model: nn.Module) -> dict[int, str]:
    """By the id of a module that can be quantized: who else, of another kind, owns its weight."""
    owners: dict[int, str] = {}
    for name, module in model.named_modules():
        if qmodule_class(module) is None:
            for leaf, parameter in module._parameters.items():
                if parameter is not None:
                    owners[id(parameter)] = f"{name}.{leaf}" if name else leaf
    return {
        id(module): owners[id(module._parameters["weight"])]
        for module in model.modules()
        if qmodule_class(module) is not None and id(module._parameters.get("weight")) in owners
    }
