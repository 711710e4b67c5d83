# SPDX-License-Identifier: Apache-2.0
"""The quantization map: for each quantized module, what a reload needs beside the state dict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from .nn.qmodule import QModuleMixin
from .qtype import as_qtype, qtype

MAP_VERSION = 1

_REQUIRED = ("weights", "activations")
_OURS = ("group_size", "axis", "dynamic", "quantized_input", "quantized_output")


class QuantizationMapError(KeyError, ValueError):
    """An entry without its types: a key that is missing, and a bad value."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Entry:
    """One module's entry, read and checked.

    Attributes:
        weights, activations: the types; None for float.
        automatic: no group size was recorded: that of a fresh module holds.
        group_size: elements that share a scale; None for one group per output.
        dynamic: activations take a scale per token.
        quantized_input, quantized_output: which sides are quantized; None: the predecessor's rule.
    """

    weights: qtype | None
    activations: qtype | None
    automatic: bool = True
    group_size: int | None = None
    dynamic: bool = False
    quantized_input: bool | None = None
    quantized_output: bool | None = None

    def apply(self, module: QModuleMixin) -> None:
        """Set on a fresh module what its constructor does not take."""
        if not self.automatic:
            module.weight_group_size = self.group_size
        if self.activations is None:
            return
        quantizes_input = self.quantized_input
        if quantizes_input is None:
            quantizes_input = _predecessor_quantizes_input(module)
        module.quantizes_input = quantizes_input
        module.quantizes_output = self.quantized_output in (True, None)


def _predecessor_quantizes_input(module: QModuleMixin) -> bool:
    """Of Linear only; classes that were registered with it decide for themselves, in `qcreate`."""
    if isinstance(module, (nn.Conv2d, nn.LayerNorm)):
        return False
    return isinstance(module, nn.Linear) or module.quantizes_input


def quantization_map(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What a reload needs beside the state dict, for each quantized module; fit for JSON.

    The predecessor reads it too: it looks at `weights` and `activations` only.
    """
    return {
        name: _entry(module)
        for name, module in model.named_modules()
        if isinstance(module, QModuleMixin)
    }


def _entry(module: QModuleMixin) -> dict[str, Any]:
    return {
        "weights": _name(module.weight_qtype),
        "activations": _name(module.activation_qtype),
        "version": MAP_VERSION,
        "group_size": module.weight_group_size,
        "axis": 0,
        "dynamic": module.dynamic,
        "quantized_input": module.quantizes_input,
        "quantized_output": module.quantizes_output,
    }


def _name(value: qtype | None) -> str:
    return "none" if value is None else value.name


def read_entry(name: str, raw: Mapping[str, Any]) -> Entry:
    """The entry of the module `name`, from a map of ours or of the predecessor's.

    An entry without `version` is the predecessor's: what it does not record follows its rules.

    Raises:
        QuantizationMapError: `weights` or `activations` is missing.
        UnknownQTypeError: a type is not known. Both are KeyError and ValueError.
        ValueError: keys, their values or the version are not known.
    """
    missing = [key for key in _REQUIRED if key not in raw]
    if missing:
        raise QuantizationMapError(
            f"quantization_map: expected {' and '.join(missing)} for {name}, got none"
        )
    version = raw.get("version")
    if version not in (None, MAP_VERSION):
        raise ValueError(
            f"quantization_map: expected version {MAP_VERSION} for {name}, got {version!r}"
        )
    unknown = sorted(set(raw) - {*_REQUIRED, *_OURS, "version"})
    if unknown:
        raise ValueError(f"quantization_map: expected no {', '.join(unknown)} for {name}, got it")
    lost = [key for key in _OURS if key not in raw]
    if version is not None and lost:
        raise ValueError(f"quantization_map: expected {', '.join(lost)} for {name}, got none")
    _check_values(name, raw)
    return Entry(
        _type(raw["weights"]),
        _type(raw["activations"]),
        "group_size" not in raw,
        raw.get("group_size"),
        raw.get("dynamic", False),
        raw.get("quantized_input"),
        raw.get("quantized_output"),
    )


def _type(value: Any) -> qtype | None:
    return None if value in (None, "none") else as_qtype(value)


def _check_values(name: str, raw: Mapping[str, Any]) -> None:
    if raw.get("axis", 0) != 0:
        raise ValueError(f"quantization_map: expected axis 0 for {name}, got {raw['axis']!r}")
    for key in ("dynamic", "quantized_input", "quantized_output"):
        if not isinstance(raw.get(key, False), bool):
            raise ValueError(
                f"quantization_map: expected true or false as {key} of {name}, got {raw[key]!r}"
            )
    group_size = raw.get("group_size")
    if group_size is not None and (isinstance(group_size, bool) or not isinstance(group_size, int)):
        raise ValueError(
            f"quantization_map: expected a number or null as group_size of {name}, "
            f"got {group_size!r}"
        )
