"""Quantizing, freezing and reloading whole models."""

import logging
import warnings
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

import torch
from torch import nn

from .inspection import obstacle, tied_to_other
from .nn.qmodule import (
    QModuleMixin,
    check_group_size,
    check_optimizer,
    default_optimizer,
    qmodule_class,
    quantize_module,
)
from .nn.state import FLOATS
from .qtype import as_qtype, qtype
from .tensor.core import has_values
from .tensor.optimizers import Optimizer

logger = logging.getLogger("quanto")

Patterns = str | Iterable[str] | None
Named = tuple[list[str], nn.Module]  # a module with all its names


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)


def _patterns(value: Patterns) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


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
        weights: a type or the name of one.
        optimizer: how scales are chosen; default absmax for 8 bits, max for 4 and 2.
        include, exclude: `fnmatch` patterns of dotted module names; exclude wins.
        group_size: elements that share a scale, for 4 and 2 bits; must divide the input features
            of every module. Default: the first of 128, 96, 64, 32 that divides, if there are more
            than 128.

    Everything is checked before anything is changed. An output head whose weight is also that of
    an embedding stays float, with one warning.
    """
    if activations is not None:
        raise NotImplementedError("quantize: quantized activations are not implemented yet")
    if dynamic:
        raise NotImplementedError("quantize: dynamic activations are not implemented yet")
    if weights is None:
        raise ValueError("quantize: expected a type for weights or activations, got neither")
    wanted = as_qtype(weights)
    optimizer = optimizer or default_optimizer(wanted)
    check_optimizer("quantize", wanted, optimizer)
    chosen, messages = _choose(
        model, wanted, _patterns(include), _patterns(exclude), include is None
    )
    for names, module in chosen:
        _check(names[0], module, wanted, group_size)
    for message in messages:
        _warn(message)
    for names, module in chosen:
        qmodule = quantize_module(module, wanted, None, optimizer, group_size)
        assert isinstance(qmodule, nn.Module)
        for name in names:
            set_submodule(model, name, qmodule)
    logger.info("quantize: %d modules to %s", len(chosen), wanted)


def set_submodule(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of that name."""
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
    module.name = name  # type: ignore[assignment]


def _modules(model: nn.Module) -> list[Named]:
    """Every submodule with all its names."""
    found: dict[int, tuple[list[str], nn.Module]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if name:
            found.setdefault(id(module), ([], module))[0].append(name)
    return list(found.values())


def _choose(
    model: nn.Module, wanted: qtype, include: list[str], exclude: list[str], every: bool
) -> tuple[list[Named], list[str]]:
    """The modules to replace, and what there is to say of those that could be meant but stay."""
    modules = _modules(model)
    shared = tied_to_other(model)
    chosen: list[Named] = []
    left: list[str] = []
    tied: list[str] = []
    for names, module in modules:
        selected = every or any(_matches(name, include) for name in names)
        if not selected or any(_matches(name, exclude) for name in names):
            continue
        if qmodule_class(module) is None:
            continue
        reason = obstacle(module, wanted)
        if reason is not None:
            left.append(f"{names[0]} ({reason})")
        elif id(module) in shared:
            _check_tied(names, shared[id(module)], include)
            tied.append(f"{names[0]} (with {shared[id(module)]})")
        else:
            chosen.append((names, module))
    messages = _unmatched(modules, include, exclude)
    if tied:
        messages.append(f"quantize: left float, as the weight is shared: {', '.join(tied)}")
    if left:
        messages.append(f"quantize: left as they are: {', '.join(left)}")
    if not (chosen or tied or left):
        hint = ": the model itself is never replaced" if qmodule_class(model) else ""
        messages.append(f"quantize: found no module to quantize{hint}")
    return chosen, messages


def _unmatched(modules: list[Named], include: list[str], exclude: list[str]) -> list[str]:
    """What to say of patterns that match nothing."""
    every = [name for names, _ in modules for name in names]
    quantizable = [name for names, m in modules if qmodule_class(m) for name in names]
    messages = []
    for option, patterns, names in (
        ("include", include, quantizable),
        ("exclude", exclude, every),
    ):
        unmatched = [p for p in patterns if not any(fnmatch(name, p) for name in names)]
        if unmatched:
            messages.append(f"quantize: {option} matches no module: {', '.join(unmatched)}")
    return messages


def _check_tied(names: list[str], owner: str, include: list[str]) -> None:
    """Tied heads stay float unless `include` names them, which is not possible yet."""
    naming = [pattern for pattern in include if pattern != "*"]
    if any(_matches(name, naming) for name in names):
        raise NotImplementedError(
            f"quantize: {names[0]} shares its weight with {owner}; quantizing both is not "
            "implemented yet: untie them or leave it out of include"
        )


def _check(name: str, module: nn.Module, wanted: qtype, group_size: int | None) -> None:
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    if weight.dtype not in FLOATS:
        raise TypeError(
            f"quantize: expected {name}.weight of float32, float16 or bfloat16, got {weight.dtype}"
        )
    if group_size is not None:
        elements = weight.numel() // weight.shape[0]
        check_group_size(f"quantize: {name}", wanted, group_size, elements)


def freeze(model: nn.Module) -> None:
    """Replace the float weights of all quantized modules by their codes.

    Modules that share one float weight share the quantized one. All weights are checked to be
    finite before any is replaced.
    """
    modules = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, QModuleMixin) and not module.frozen
    ]
    for name, module in modules:
        _check_finite(name, module.weight)
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


def quantization_map(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What a reload needs beside the state dict, for each quantized module; fit for JSON."""
    return {
        name: {
            "weights": module.weight_qtype.name,
            "activations": "none",
            "group_size": module.weight_group_size,
            "axis": 0,
        }
        for name, module in model.named_modules()
        if isinstance(module, QModuleMixin)
    }
