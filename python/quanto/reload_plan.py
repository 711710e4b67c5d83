# SPDX-License-Identifier: Apache-2.0
"""What a reload will put where, and why it cannot: all that is known before a model is changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .inspection import obstacle
from .mapping import Entry, read_entry
from .nn.qmodule import QModuleMixin, counterpart
from .nn.state import weight_errors, weight_spec

Group = tuple[Any, ...]  # equal for modules that tie one float weight and quantize it alike


@dataclass
class Slot:
    """A tensor of the model: its keys (several if it is tied), and those the state dict has."""

    shape: tuple[int, ...]
    inner: bool  # of a quantized weight, which is built as a whole
    keys: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)


@dataclass
class Target:
    """A module to replace, under all its names, and its quantized counterpart."""

    names: list[str]
    qmodule: QModuleMixin
    group: Group
    frozen: bool
    source: str = ""  # prefix of the keys that make the frozen weight


class Plan:
    """The quantized modules, not yet in the model, and a slot for every tensor."""

    def __init__(
        self,
        model: nn.Module,
        tensors: dict[str, torch.Tensor],
        quantization_map: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._model = model
        self._tensors = tensors
        self._names = _all_names(model)
        entries = {name: read_entry(name, raw) for name, raw in quantization_map.items()}
        self.targets = list(self._targets(entries))
        self.slots = self._slots()
        self._choose_sources()

    def _targets(self, entries: Mapping[str, Entry]) -> list[Target]:
        found: dict[int, tuple[Target, Entry]] = {}
        for name, entry in entries.items():
            if entry.weights is None and entry.activations is None:
                continue
            module = _module(self._model, name)
            if id(module) in found:
                target, other = found[id(module)]
                if other != entry:
                    raise ValueError(
                        f"requantize: expected equal entries for {target.names[0]} and {name}, "
                        "which are one module, got different ones"
                    )
                continue
            names = self._names[id(module)]
            qmodule = quantized_counterpart(module, name, entry)
            group = (id(module._parameters.get("weight")), entry.weights, qmodule.weight_group_size)
            target = Target(names, qmodule, group, self._frozen(names, entry))
            found[id(module)] = (target, entry)
        return [target for target, _ in found.values()]

    def _frozen(self, names: list[str], entry: Entry) -> bool:
        """A float weight in the state dict stays float, to be quantized in every forward."""
        return entry.weights is not None and not any(f"{n}.weight" in self._tensors for n in names)

    def _slots(self) -> list[Slot]:
        slots: dict[Any, Slot] = {}

        def add(identity: Any, keys: list[str], shape: tuple[int, ...], inner: bool) -> None:
            slot = slots.setdefault(identity, Slot(shape, inner))
            slot.keys += [key for key in keys if key not in slot.keys]

        frozen = {f"{n}.weight" for target in self.targets if target.frozen for n in target.names}
        scales = {f"{n}.{scale}" for t in self.targets for n in t.names for scale in _SCALES}
        for key, tensor in self._model.state_dict(keep_vars=True).items():
            if isinstance(tensor, torch.Tensor) and not (
                key in frozen or key in scales or _weight_of(key) in frozen
            ):
                add(id(tensor), [key], tuple(tensor.shape), False)
        for target in self.targets:
            if target.frozen:
                for leaf, shape in weight_spec(target.qmodule).items():
                    keys = [f"{n}.weight.{leaf}" for n in target.names]
                    add((target.group, leaf), keys, shape, True)
            for scale in _SCALES:
                keys = [f"{n}.{scale}" for n in target.names]
                add((id(target.qmodule), scale), keys, (), False)
        for slot in slots.values():
            slot.present = [key for key in slot.keys if key in self._tensors]
        return list(slots.values())

    def _choose_sources(self) -> None:
        """Each frozen weight comes from its own keys, or else from those it is tied to."""
        everywhere: dict[Group, list[str]] = {}
        for target in self.targets:
            everywhere.setdefault(target.group, []).extend(target.names)
        for target in self.targets:
            if target.frozen:
                leaves = list(weight_spec(target.qmodule))
                for name in [*target.names, *everywhere[target.group]]:
                    if all(f"{name}.weight.{leaf}" in self._tensors for leaf in leaves):
                        target.source = f"{name}.weight."
                        break

    def check(self) -> None:
        """Raise, in one message, what is missing, unexpected, misshapen or without values."""
        expected = {key for slot in self.slots for key in slot.keys}
        missing = [slot.keys[0] for slot in self.slots if not slot.present]
        unexpected = [key for key in self._tensors if key not in expected]
        errors = [
            f"size mismatch for {key}: expected {slot.shape}, got {tuple(self._tensors[key].shape)}"
            for slot in self.slots
            for key in slot.present
            if tuple(self._tensors[key].shape) != slot.shape
        ]
        if missing:
            errors.insert(0, f"missing keys: {', '.join(missing)}")
        if unexpected:
            errors.insert(0, f"unexpected keys: {', '.join(unexpected)}")
        if not errors:
            for target in self.targets:
                if target.frozen and not target.source:
                    errors.append(f"missing keys: {target.names[0]}.weight is in parts only")
                elif target.frozen:
                    errors += weight_errors(target.qmodule, self._tensors, target.source)
        if not errors:
            errors = [
                line for slot in self.slots if not slot.inner for line in self._differing(slot)
            ]
        if errors:
            raise ValueError(f"requantize: {'; '.join(errors)}")
        self._check_meta(expected)

    def _differing(self, slot: Slot) -> list[str]:
        """A line for each key whose tensor is not that of the key it is tied to."""
        first, *others = slot.present
        return [
            f"expected equal tensors for {first} and {key}, which the model ties"
            for key in others
            if not _same(self._tensors[first], self._tensors[key])
        ]

    def _check_meta(self, expected: set[str]) -> None:
        """Raise if a buffer that no state dict holds has no values."""
        buffers = self._model.named_buffers()
        lost = [key for key, buffer in buffers if buffer.is_meta and key not in expected]
        if lost:
            raise ValueError(
                f"requantize: expected values in {', '.join(lost)}, which the state dict does not "
                "hold, got the meta device (accelerate.init_empty_weights leaves buffers alone)"
            )


_SCALES = ("input_scale", "output_scale")


def _all_names(model: nn.Module) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(name)
    return names


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise ValueError(f"requantize: expected a module {name} in the model, got none") from None


def quantized_counterpart(module: nn.Module, name: str, entry: Entry) -> QModuleMixin:
    """The quantized module that the map asks for, not yet in the model."""
    reason = None
    if not isinstance(module, QModuleMixin):
        reason = obstacle(module, entry.weights, entry.activations)
    qmodule = None
    if reason is None:
        arguments = (entry.weights, entry.activations, None, entry.group_size, entry.dynamic)
        qmodule = counterpart(module, *arguments)
    if qmodule is None:
        reason = reason or "nothing of it would be quantized to these types"
        raise ValueError(f"requantize: expected {name} to be quantizable, got: {reason}")
    entry.apply(qmodule)
    return qmodule


def _same(left: torch.Tensor, right: torch.Tensor) -> bool:
    if left.is_meta or right.is_meta or left.data_ptr() == right.data_ptr():
        return True
    return left.dtype == right.dtype and torch.equal(left, right)


def _weight_of(key: str) -> str:
    """For the key of an inner tensor: that of its weight."""
    head, found, _ = key.rpartition(".weight._")
    return f"{head}.weight" if found else ""
