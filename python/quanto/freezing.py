# SPDX-License-Identifier: Apache-2.0
"""Freezing whole models."""

from typing import Any

import torch
from torch import nn

from .nn.qmodule import QModuleMixin
from .tensor.core import has_values


def freeze(model: nn.Module) -> None:
    """Replace the float weights of all quantized modules by their codes.

    Modules that share one float weight share the quantized one. Modules that quantize no weight are
    left. All weights are checked to be finite before any is replaced.
    """
    modules = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, QModuleMixin)
        and module.weight_qtype is not None
        and not module.frozen
    ]
    for name, module in modules:
        _check_finite(name, module.weight)
    # A shared weight remembers the activations of the module that is frozen first.
    modules.sort(key=lambda named: named[1].activation_qtype is None)
    frozen: dict[tuple[Any, ...], torch.Tensor] = {}
    for module, key in [(module, _scheme(module)) for _, module in modules]:
        if key in frozen:
            module.weight = frozen[key]
        else:
            module.freeze()
            frozen[key] = module.weight


def _scheme(module: QModuleMixin) -> tuple[Any, ...]:
    """Equal for modules whose quantized weights are the same."""
    scheme = (module.weight_qtype, module.weight_group_size, id(module.optimizer))
    return (id(module.weight), *scheme)


def _check_finite(name: str, weight: torch.Tensor) -> None:
    if weight.numel() == 0 or not has_values(weight):
        return
    low, high = torch.aminmax(weight.detach())
    if not (torch.isfinite(low) and torch.isfinite(high)):
        raise ValueError(f"freeze: expected finite values in {name}.weight, got inf or nan")
