"""Reloading a quantized model from a state dict and a quantization map."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .inspection import obstacle
from .nn.qmodule import QModuleMixin, quantize_module
from .nn.state import weight_errors, weight_from, weight_spec
from .qtype import as_qtype
from .quantize import set_submodule

Entry = Mapping[str, Any]


def requantize(
    model: nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    quantization_map: Mapping[str, Entry],
    device: torch.device | str | None = None,
) -> None:
    """Turn a float model, usually on the meta device, into the quantized one that was saved.

    The tensors of the state dict become those of the model: on the CPU nothing is copied, and no
    float weight is ever built for a quantized one. `device` defaults to that of the model's first
    parameter, the CPU for meta. Maps of optimum-quanto, which hold neither group size nor axis, are
    read by its rules.

    Raises ValueError, before the model is changed, if the map names a module that cannot be
    quantized, if keys are missing, unexpected or misshapen, or if something that is not in the
    state dict is on the meta device.
    """
    qmodules = {
        name: qmodule
        for name, entry in quantization_map.items()
        if (qmodule := _qmodule(model, name, entry)) is not None
    }
    tensors = dict(state_dict)
    expected, aliases = _expected(model, qmodules)
    _check(tensors, expected, aliases, qmodules)
    _check_meta(model, expected)
    target = _device(model) if device is None else torch.device(device)
    for name, qmodule in qmodules.items():
        prefix = f"{name}.weight."
        weight = weight_from(qmodule, tensors, prefix).to(target)
        qmodule.weight = nn.Parameter(weight, requires_grad=False)
        assert isinstance(qmodule, nn.Module)
        set_submodule(model, name, qmodule)
    weights = {f"{name}.weight." for name in qmodules}
    rest = {key: t for key, t in tensors.items() if _owner(key) not in weights}
    _assign(model, rest, aliases, target)
    model.to(target)  # buffers that are not saved


def _qmodule(model: nn.Module, name: str, entry: Entry) -> QModuleMixin | None:
    """The quantized module the map asks for, not yet in the model; None where it asks for float."""
    if entry.get("activations", "none") not in (None, "none"):
        raise NotImplementedError(
            f"requantize: quantized activations ({name}) are not implemented yet"
        )
    if entry["weights"] in (None, "none"):
        return None
    wanted = as_qtype(entry["weights"])
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise ValueError(f"requantize: expected a module {name} in the model, got none") from None
    reason = None if isinstance(module, QModuleMixin) else obstacle(module, wanted)
    if reason is not None:
        raise ValueError(f"requantize: expected {name} to be quantizable, got: {reason}")
    if entry.get("axis", 0) != 0:
        raise ValueError(f"requantize: expected axis 0 for {name}, got {entry['axis']}")
    return quantize_module(module, wanted, None, None, entry.get("group_size"))


def _owner(key: str) -> str:
    """The part of an inner tensor's key before its own name, with the dot."""
    head, found, _ = key.rpartition(".weight._")
    return f"{head}.weight." if found else ""


def _expected(
    model: nn.Module, qmodules: Mapping[str, QModuleMixin]
) -> tuple[dict[str, tuple[int, ...]], dict[str, list[str]]]:
    """Shapes by key, and for each key the other keys of the same tensor."""
    shapes: dict[str, tuple[int, ...]] = {}
    same: dict[int, list[str]] = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        module, _, leaf = key.rpartition(".")
        if (module in qmodules and leaf == "weight") or _owner(key)[: -len(".weight.")] in qmodules:
            continue
        shapes[key] = tuple(tensor.shape)
        same.setdefault(id(tensor), []).append(key)
    for name, qmodule in qmodules.items():
        shapes.update({f"{name}.weight.{k}": s for k, s in weight_spec(qmodule).items()})
        shapes.update({f"{name}.input_scale": (), f"{name}.output_scale": ()})
    aliases = {key: [k for k in keys if k != key] for keys in same.values() for key in keys}
    return shapes, aliases


def _check(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    aliases: Mapping[str, list[str]],
    qmodules: Mapping[str, QModuleMixin],
) -> None:
    missing = [
        key
        for key in expected
        if key not in tensors and not any(other in tensors for other in aliases.get(key, []))
    ]
    unexpected = [key for key in tensors if key not in expected]
    errors = [
        f"size mismatch for {key}: expected {shape}, got {tuple(tensors[key].shape)}"
        for key, shape in expected.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    if missing:
        errors.insert(0, f"missing keys: {', '.join(missing)}")
    if unexpected:
        errors.insert(0, f"unexpected keys: {', '.join(unexpected)}")
    if not errors:
        for name, qmodule in qmodules.items():
            errors += weight_errors(qmodule, dict(tensors), f"{name}.weight.")
    if errors:
        raise ValueError(f"requantize: {'; '.join(errors)}")


def _check_meta(model: nn.Module, expected: Mapping[str, Any]) -> None:
    """Raise if a buffer that no state dict holds has no values."""
    lost = [key for key, buffer in model.named_buffers() if buffer.is_meta and key not in expected]
    if lost:
        raise ValueError(
            f"requantize: expected values in {', '.join(lost)}, which the state dict does not "
            "hold, got the meta device (accelerate.init_empty_weights leaves buffers alone)"
        )


def _device(model: nn.Module) -> torch.device:
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None or first.is_meta else first.device


def _assign(
    model: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    aliases: Mapping[str, list[str]],
    device: torch.device,
) -> None:
    """Make these tensors the model's, tied ones again one object."""
    done: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        owner, _, leaf = key.rpartition(".")
        module = model.get_submodule(owner)
        old = module._parameters.get(leaf)
        known = next((done[other] for other in aliases.get(key, []) if other in done), None)
        if known is not None:
            value = known
        elif old is not None:
            value = nn.Parameter(tensor.to(device), requires_grad=old.requires_grad)
        else:
            value = tensor.to(device)
        setattr(module, leaf, value)
        done[key] = value
    for key, others in aliases.items():
        if key not in done:
            owner, _, leaf = key.rpartition(".")
            known = next((done[other] for other in others if other in done), None)
            if known is not None:
                setattr(model.get_submodule(owner), leaf, known)
