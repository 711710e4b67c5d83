# SPDX-License-Identifier: Apache-2.0
"""What transformers' loader calls for each weight of a quantized module."""

from typing import Any

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.quantizers_utils import get_module_from_name

from ..nn.qmodule import QModuleMixin
from ..nn.state import weight_errors, weight_from, weight_spec
from .placement import set_ones


class QuantizeWeight(ConversionOps):  # type: ignore[misc]
    """A float weight that was just read is quantized and let go."""

    def __init__(self, hf_quantizer: Any) -> None:
        self.hf_quantizer = hf_quantizer

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        full_layer_name: str = "",
        model: Any = None,
        missing_keys: Any = None,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        """Freeze the modules; the loader is left what is not a weight to quantize."""
        if len(input_dict) == 1:  # its key may be a pattern
            input_dict = {full_layer_name: next(iter(input_dict.values()))}
        rest = {}
        for name, value in input_dict.items():
            if self.hf_quantizer.param_needs_quantization(model, name):
                self._quantize(get_module_from_name(model, name)[0], _one(value))
                _done(model, name, missing_keys, ("weight", "input_scale", "output_scale"))
            else:
                rest[name] = value
        return rest

    @staticmethod
    def _quantize(module: Any, value: torch.Tensor) -> None:
        module.weight = nn.Parameter(value, requires_grad=False)
        module.freeze()
        set_ones(module, value.dtype, value.device)


class BuildWeight(ConversionOps):  # type: ignore[misc]
    """The inner tensors of one weight become the weight, as they are."""

    def __init__(self, hf_quantizer: Any) -> None:
        # Under this very name the loader sees that dtypes of inputs are not to be changed.
        self.hf_quantizer = hf_quantizer

    def __deepcopy__(self, memo: dict[int, Any]) -> "BuildWeight":
        return self  # the loader copies it for each weight; errors are to reach one quantizer

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        full_layer_name: str = "",
        model: Any = None,
        missing_keys: Any = None,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        """Set the module's weight; the loader is left nothing to set."""
        tensors = {name: _one(value) for name, value in input_dict.items()}
        module, _ = get_module_from_name(model, full_layer_name)
        missing_keys.discard(full_layer_name)  # what is wrong is told once, by name
        errors = _errors(module, tensors, full_layer_name)
        if errors:
            self.hf_quantizer.errors += errors
            return {}
        dtype = module.weight.dtype
        weight = weight_from(module, tensors, "weight.").to(dtype)
        module.weight = nn.Parameter(weight, requires_grad=False)
        _done(model, full_layer_name, missing_keys, ("weight",))
        return {}


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _errors(module: Any, tensors: dict[str, Any], name: str) -> list[str]:
    """What keeps these tensors from making the module's weight."""
    owner = name.removesuffix("weight")
    if not isinstance(module, QModuleMixin) or module.weight_qtype is None:
        keys = ", ".join(owner + key for key in tensors)
        return [f"unexpected keys: {keys} of a module that is not in the quantization map"]
    expected = {f"weight.{key}" for key in weight_spec(module)}
    errors = [f"missing keys: {owner}{key}" for key in sorted(expected - tensors.keys())]
    errors += [f"unexpected keys: {owner}{key}" for key in sorted(tensors.keys() - expected)]
    if errors:
        return errors
    return [f"{owner[:-1]}: {error}" for error in weight_errors(module, tensors, "weight.")]


def _done(model: Any, name: str, missing_keys: Any, leaves: tuple[str, ...]) -> None:
    """Tell the loader that these are set, so that it does not initialize them."""
    module, _ = get_module_from_name(model, name)
    owner = name.removesuffix("weight")
    for leaf in leaves:
        missing_keys.discard(owner + leaf)
        getattr(module, leaf)._is_hf_initialized = True
    bias = getattr(module, "bias", None)
    if bias is None or getattr(bias, "_is_hf_initialized", False):
        module._is_hf_initialized = True  # code that initializes does not see flags of the weight
