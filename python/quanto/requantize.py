# SPDX-License-Identifier: Apache-2.0
"""Reloading a quantized model from a state dict and a quantization map."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .nn.activations import new_notice
from .nn.state import weight_from
from .reload_plan import Group, Plan, Target
from .tensor.core import has_values
from .tensor.qtensor import QTensor, same_codes

Shared = dict[
    Group, list[nn.Parameter]
]  # the weights made so far, by the float weight they replace


def requantize(
    model: nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    quantization_map: Mapping[str, Mapping[str, Any]],
    device: torch.device | str | None = None,
) -> None:
    """Turn a float model, usually on the meta device, into the quantized one that was saved.

    The tensors of the state dict become those of the model: on the CPU nothing is copied, and no
    float weight is ever built for a quantized one. Weights that the model ties are one again, from
    one key or from equal tensors. `device` defaults to that of the model's first parameter, the CPU
    for meta. Maps of optimum-quanto, which record types only, are read by its rules.

    Raises:
        KeyError: an entry of the map lacks its types, or names one that is not known.
        ValueError: the map names a module that cannot be quantized so, keys are missing, unexpected
            or misshapen, or something that is not in the state dict is on the meta device.

    The model is unchanged then.
    """
    # The predecessor stores None where a LayerNorm has no weight.
    tensors = {key: tensor for key, tensor in state_dict.items() if tensor is not None}
    new_notice()
    plan = Plan(model, tensors, quantization_map)
    plan.check()
    target_device = _device(model) if device is None else torch.device(device)
    shared: Shared = {}
    for target in plan.targets:
        if target.frozen:
            target.qmodule.weight = _weight(target, tensors, target_device, shared)
        _put(model, target)
    for slot in plan.slots:
        if not slot.inner:
            _assign(model, slot.keys, tensors[slot.present[0]].to(target_device))
    model.to(target_device)  # buffers that are not saved


def _weight(
    target: Target, tensors: dict[str, torch.Tensor], device: torch.device, shared: Shared
) -> nn.Parameter:
    """The target's quantized weight; that of another module if they are tied and equal."""
    weight = weight_from(target.qmodule, tensors, target.source).to(device)
    known = shared.setdefault(target.group, [])
    for parameter in known:
        if _equal(parameter, weight):
            return parameter
    parameter = nn.Parameter(weight, requires_grad=False)
    known.append(parameter)
    return parameter


def _equal(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two weights of one group have the same codes, whatever their activations are."""
    if not (isinstance(left, QTensor) and isinstance(right, QTensor)):
        return False
    return has_values(left) and same_codes(left, right)


def _put(model: nn.Module, target: Target) -> None:
    qmodule = target.qmodule
    assert isinstance(qmodule, nn.Module)
    for name in target.names:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, qmodule)
    qmodule.name = target.names[0]


def _device(model: nn.Module) -> torch.device:
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None or first.is_meta else first.device


def _assign(model: nn.Module, keys: list[str], tensor: torch.Tensor) -> None:
    """Make this the model's tensor at all its names."""
    value: torch.Tensor | None = None
    for key in keys:
        owner, _, leaf = key.rpartition(".")
        module = model.get_submodule(owner)
        old = module._parameters.get(leaf)
        if value is None:
            value = tensor
            if old is not None:
                value = nn.Parameter(tensor, requires_grad=old.requires_grad)
        setattr(module, leaf, value)
