# SPDX-License-Identifier: Apache-2.0
"""Putting quantized modules into a model whose weights are still to be loaded."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ..inspection import obstacle, tied_to_other
from ..mapping import Entry, read_entry
from ..nn.qmodule import QModuleMixin
from ..qtype import as_qtype
from ..quantize import set_submodule
from ..reload_plan import quantized_counterpart
from .settings import QuantoSettings


def place_linears(
    model: nn.Module,
    settings: QuantoSettings,
    wanted: Callable[[str], bool],
    will_be_tied: Mapping[str, str] | None = None,
) -> list[str]:
    """Replace the Linear modules that are wanted by quantized ones without a quantized weight.

    Those whose weight is also an embedding's, or will be once the model is loaded (names of
    parameters by each other), stay float, with one warning, as do those that cannot be quantized,
    with another. Returns the names of what was replaced.
    """
    assert settings.weights is not None
    weights = as_qtype(settings.weights)
    shared = tied_to_other(model)
    tied, left, placed = [], [], []
    for name, module in list(model.named_modules()):
        if not isinstance(module, nn.Linear) or not wanted(name):
            continue
        owner = shared.get(id(module)) or (will_be_tied or {}).get(f"{name}.weight")
        if owner is not None:
            tied.append(f"{name} (with {owner})")
            continue
        reason = obstacle(module, weights)
        if reason is not None:
            left.append(f"{name} ({reason})")
            continue
        set_submodule(model, name, _counterpart(module, name, settings))
        placed.append(name)
    for what, names in (("left float, as the weight is shared", tied), ("left as they are", left)):
        if names:
            warnings.warn(f"quanto: {what}: {', '.join(names)}", stacklevel=2)
    if not placed:
        warnings.warn("quanto: found no Linear to quantize", stacklevel=2)
    return placed


def _counterpart(module: nn.Module, name: str, settings: QuantoSettings) -> nn.Module:
    assert settings.weights is not None
    entry = Entry(
        as_qtype(settings.weights),
        None if settings.activations is None else as_qtype(settings.activations),
        automatic=settings.group_size is None,
        group_size=settings.group_size,
        dynamic=settings.dynamic,
        quantized_output=not settings.dynamic,
    )
    qmodule = quantized_counterpart(module, name, entry)
    assert isinstance(qmodule, nn.Module)
    return qmodule


def place_by_map(model: nn.Module, modules: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Replace the modules that a quantization map names; the names of what was replaced.

    Raises ValueError where the map does not fit the model.
    """
    qmodules: dict[int, nn.Module] = {}
    placed = []
    for name, raw in modules.items():
        entry = read_entry(name, raw)
        if entry.weights is None and entry.activations is None:
            continue
        try:
            module = model.get_submodule(name)
        except AttributeError:
            raise ValueError(f"quanto: expected a module {name} in the model, got none") from None
        if id(module) not in qmodules:
            qmodule = quantized_counterpart(module, name, entry)
            assert isinstance(qmodule, nn.Module)
            qmodules[id(module)] = qmodule
        set_submodule(model, name, qmodules[id(module)])
        placed.append(name)
    return placed


def quantized_modules(model: nn.Module) -> Iterable[tuple[str, QModuleMixin]]:
    """Those that have a weight to quantize, by name."""
    for name, module in model.named_modules():
        if isinstance(module, QModuleMixin) and module.weight_qtype is not None:
            yield name, module


def set_ones(module: QModuleMixin, dtype: torch.dtype, device: torch.device) -> None:
    """Give a module that was built on meta the scales of one that was never calibrated."""
    for name in ("input_scale", "output_scale"):
        setattr(module, name, torch.ones((), dtype=dtype, device=device))


def check_frozen(model: nn.Module, what: str) -> None:
    """Raise ValueError unless every quantized weight is there."""
    lost = [name for name, module in quantized_modules(model) if not module.frozen]
    if lost:
        raise ValueError(
            f"{what}: expected quantized weights in every quantized module, got none in "
            f"{', '.join(lost)}"
        )
