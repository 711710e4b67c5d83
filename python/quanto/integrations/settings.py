# SPDX-License-Identifier: Apache-2.0
"""The `quantization_config` of a checkpoint, alike in both libraries."""

import copy
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from ..mapping import quantization_map
from ..qtype import as_qtype, qtype

FORMAT_VERSION = 1
"""Of the directories that we write; those without one are the predecessor's."""

_SHORT = {"qint8": "int8", "qint4": "int4", "qint2": "int2", "qfloat8_e4m3fn": "float8"}


def short_name(value: qtype | str | None) -> str | None:
    """The name under which both libraries know a type, as in "int8" and "float8"."""
    if value is None or value == "none":
        return None
    name = as_qtype(value).name
    return _SHORT.get(name, name.removeprefix("q"))


class QuantoSettings:
    """What to quantize to, and, in a checkpoint, what each module was quantized to.

    Args:
        weights: int8 (the default), int4, int2, float8 or another type's name.
        activations: a type of 8 bits, or None for float activations.
        modules_to_not_convert: names of modules that stay float; None: the library's own choice.
        dynamic: activations take a scale per token; otherwise they have to be calibrated.
        group_size: elements that share a scale, for 4 and 2 bits; None: chosen per module.
        format_version: of the checkpoint that is read; None: the predecessor's, or not a
            checkpoint.
        modules: its quantization map.
        weights_dtype: the name that diffusers' own class has for `weights`.
        quant_method: as it stands in a checkpoint; ignored.
    """

    METHOD: ClassVar[Any]
    """The library's own value for "quanto"."""

    def __init__(
        self,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        modules_to_not_convert: list[str] | None = None,
        dynamic: bool = False,
        group_size: int | None = None,
        format_version: int | None = None,
        modules: dict[str, dict[str, Any]] | None = None,
        weights_dtype: qtype | str | None = None,
        quant_method: str | None = None,
        **unknown: Any,
    ) -> None:
        _check_version(format_version, modules)
        if unknown:
            raise ValueError(f"QuantoConfig: expected no {', '.join(sorted(unknown))}, got it")
        if weights is not None and weights_dtype is not None:
            raise ValueError("QuantoConfig: expected weights or weights_dtype, got both")
        self.quant_method = self.METHOD
        self.weights = short_name(weights or weights_dtype or "int8")
        self.activations = short_name(activations)
        if dynamic and self.activations is None:
            raise ValueError("QuantoConfig: expected a type for dynamic activations, got None")
        self.modules_to_not_convert = modules_to_not_convert
        self.dynamic = dynamic
        self.group_size = group_size
        self.format_version = format_version
        self.modules = modules

    def describe(self, model: nn.Module) -> None:
        """From now on, write what this model is at the time of writing."""
        self.format_version = FORMAT_VERSION
        self.modules = quantization_map(model)
        self.__dict__["_model"] = weakref.ref(model)

    @property
    def model(self) -> nn.Module | None:
        """The model that `describe` was given, while it lives."""
        reference = self.__dict__.get("_model")
        return None if reference is None else reference()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        model = self.model
        if model is not None:
            self.modules = quantization_map(model)
        return copy.deepcopy({k: v for k, v in self.__dict__.items() if not k.startswith("_")})

    def to_diff_dict(self) -> dict[str, Any]:
        """The same: every value is written."""
        return self.to_dict()

    def __repr__(self) -> str:
        given = {k: v for k, v in self.__dict__.items() if k not in ("_model", "modules")}
        arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return f"{type(self).__name__}({arguments}, {len(self.modules or {})} modules)"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_model"}


def _check_version(version: object, modules: object) -> None:
    if version is None:
        return
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"QuantoConfig: expected a format_version of 1 or more, got {version!r}")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"QuantoConfig: expected format_version {FORMAT_VERSION} at most, got {version}: "
            "a newer quanto wrote this checkpoint"
        )
    if not isinstance(modules, Mapping):
        raise ValueError(
            "QuantoConfig: expected the quantization map of the checkpoint as modules, "
            f"got {type(modules).__name__}"
        )


def settings_of(model: nn.Module) -> dict[str, Any]:
    """The arguments of the settings that describe a quantized model, without its map.

    Where modules differ, `weights` and `activations` are those of the first; readers go by the map.
    """
    entries = list(quantization_map(model).values())
    weights = next((e["weights"] for e in entries if e["weights"] != "none"), "qint8")
    active = [e for e in entries if e["activations"] != "none"]
    groups = {e["group_size"] for e in entries if e["weights"] in ("qint4", "qint2")}
    quantized = {name for name, _ in model.named_modules()} & quantization_map(model).keys()
    return {
        "weights": weights,
        "activations": active[0]["activations"] if active else None,
        "dynamic": bool(active) and active[0]["dynamic"],
        "group_size": groups.pop() if len(groups) == 1 else None,
        "modules_to_not_convert": [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and name not in quantized
        ],
    }
