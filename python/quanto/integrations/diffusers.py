# SPDX-License-Identifier: Apache-2.0
"""The quantizer of diffusers: on the fly, saved, and loaded by a bare `from_pretrained`."""

import re
from fnmatch import fnmatch
from types import ModuleType
from typing import Any

import torch
from diffusers.quantizers import auto as _auto
from diffusers.quantizers.base import DiffusersQuantizer
from diffusers.quantizers.quantization_config import QuantizationConfigMixin, QuantizationMethod
from safetensors import safe_open
from torch import nn

from ..nn.qmodule import QModuleMixin
from ..nn.state import weight_errors
from ..qtype import as_qtype
from ..quantize import freeze
from ..tensor.qbytes import QBytesTensor
from ..tensor.qtensor import named_plain_tensors
from ..tensor.wrapper import WrapperTensor
from .metadata import file_metadata
from .placement import check_frozen, place_by_map, place_linears, quantized_modules, set_ones
from .settings import QuantoSettings

_STOCK_QUANTIZER = ("diffusers.quantizers.quanto.quanto_quantizer", "QuantoQuantizer")
_STOCK_CONFIG = ("diffusers.quantizers.quantization_config", "QuantoConfig")
_CODES = {torch.int8: "I8", torch.uint8: "U8"} | dict.fromkeys(
    (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz), "F8"
)
"""How safetensors names the dtypes of codes: the library would cast others without a word."""

_SCALES = ("input_scale", "output_scale")


class QuantoConfig(QuantoSettings, QuantizationConfigMixin):  # type: ignore[misc]
    """`quantization_config` for `from_pretrained`; the stock class of that name is taken too.

    See `QuantoSettings`. Static activations have to be calibrated after the model is loaded.
    """

    METHOD = QuantizationMethod.QUANTO


class QuantoQuantizer(DiffusersQuantizer):  # type: ignore[misc]
    """Quantizes weight by weight while a float checkpoint is read, and reads what was so saved.

    Reads what the stock quantizer saved, too, by its rules: every Linear but those named.
    """

    use_keep_in_fp32_modules = True
    requires_calibration = False
    required_packages: list[str] = []

    def __init__(self, quantization_config: Any, **kwargs: Any) -> None:
        if not isinstance(quantization_config, QuantoConfig):
            quantization_config = QuantoConfig.from_dict(quantization_config.to_dict())
        super().__init__(quantization_config, **kwargs)
        self.loaded_keys: list[str] = []
        self.kinds: dict[str, str] = {}

    def validate_environment(self, *args: Any, **kwargs: Any) -> None:
        """Raise ValueError for device maps that diffusers cannot combine with quantized weights."""
        device_map = kwargs.get("device_map")
        if isinstance(device_map, dict) and len(set(device_map.values())) > 1:
            raise ValueError(
                f"quanto: expected one device in device_map, got {sorted(map(str, device_map))}: "
                "load on one, then offload with accelerate"
            )

    def update_torch_dtype(self, torch_dtype: Any) -> Any:
        """Float weights are quantized from fp32 unless told otherwise, as diffusers loads them."""
        return torch.float32 if torch_dtype is None and not self.pre_quantized else torch_dtype

    def adjust_max_memory(self, max_memory: dict[Any, Any]) -> dict[Any, Any]:
        """Room for scales, and for the float weight that is being quantized."""
        return {device: size * 0.9 for device, size in max_memory.items()}

    def adjust_target_dtype(self, torch_dtype: Any) -> Any:
        """What accelerate is told of the weights' size, for its estimate of a device map."""
        from accelerate.utils import CustomDtype

        small = {4: CustomDtype.INT4, 2: CustomDtype.INT2}
        return small.get(as_qtype(self.quantization_config.weights).bits, torch.int8)

    def maybe_update_loaded_keys(self, loaded_keys: list[str], checkpoint_files: Any) -> list[str]:
        """Keep the checkpoint's keys and dtypes, to compare them with the model's."""
        self.loaded_keys = list(loaded_keys)
        for path in checkpoint_files or []:
            if str(path).endswith(".safetensors"):
                with safe_open(path, framework="pt") as file:
                    self.kinds |= {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        return loaded_keys

    def _process_model_before_weight_loading(
        self, model: Any, device_map: Any, keep_in_fp32_modules: Any = (), **kwargs: Any
    ) -> None:
        settings = self.quantization_config
        if self.pre_quantized and settings.modules is not None:
            place_by_map(model, settings.modules)
        else:
            asked = settings.modules_to_not_convert or []
            skip = [*([asked] if isinstance(asked, str) else asked), *keep_in_fp32_modules]
            settings.modules_to_not_convert = sorted(set(skip))
            place_linears(model, settings, lambda name: not _named(name, skip))
        model.requires_grad_(False)
        if self.pre_quantized:
            freeze(model)  # on meta: gives the keys, and the tensors to assign
            self._check_keys(model)
        model.config["quantization_config"] = settings

    def _check_keys(self, model: Any) -> None:
        """Raise where the library would only warn, and leave weights random or out."""
        expected, found = set(model.state_dict()), set(self.loaded_keys)
        ignored = type(model)._keys_to_ignore_on_load_unexpected or []
        unexpected = {
            key for key in found - expected if not any(re.search(p, key) for p in ignored)
        }
        errors = [
            f"{what} keys: {', '.join(sorted(keys))}"
            for what, keys in (("missing", expected - found), ("unexpected", unexpected))
            if keys
        ]
        for key, tensor in model.state_dict().items():
            kind = _CODES.get(tensor.dtype)
            if kind is not None and not self.kinds.get(key, kind).startswith(kind):
                errors.append(f"dtype of {key}: expected {kind}, got {self.kinds[key]}")
        if errors:
            raise ValueError(f"quanto: {type(model).__name__}: {'; '.join(errors)}")

    def check_if_quantized_param(
        self, model: Any, param_value: Any, param_name: str, state_dict: Any, **kwargs: Any
    ) -> bool:
        """Whether the tensor is a part of a quantized weight, or will become one."""
        owner, leaf = _owner(model, param_name)
        if isinstance(owner, WrapperTensor):
            return True
        return (
            isinstance(owner, QModuleMixin)
            and leaf == "weight"
            and owner.weight_qtype is not None
            and not owner.frozen
        )

    def check_quantized_param_shape(self, param_name: str, current: Any, loaded: Any) -> None:
        """Raise: shapes are those of the map."""
        raise ValueError(
            f"quanto: expected shape {tuple(current.shape)} of {param_name}, "
            f"got {tuple(loaded.shape)}"
        )

    def create_quantized_param(
        self,
        model: Any,
        param_value: torch.Tensor,
        param_name: str,
        target_device: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Assign a part of a quantized weight, or quantize a float one."""
        owner, leaf = _owner(model, param_name)
        value = param_value.to(target_device)
        if isinstance(owner, WrapperTensor):
            if leaf == "_data" and isinstance(owner, QBytesTensor):
                value = value.to(owner.qtype.dtype)  # float8 codes that were cast: exact
            setattr(owner, leaf, value)
            return
        owner.weight = nn.Parameter(value, requires_grad=False)
        owner.freeze()
        set_ones(owner, value.dtype, value.device)

    def update_missing_keys(self, model: Any, missing_keys: list[str], prefix: str) -> list[str]:
        """On the fly, the scales of activations are not missing."""
        ours = {f"{name}.{scale}" for name, _ in quantized_modules(model) for scale in _SCALES}
        return [key for key in missing_keys if key not in ours]

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        check_frozen(model, f"quanto: {type(model).__name__}")
        errors = [
            f"{name}: {error}"
            for name, module in quantized_modules(model)
            for error in weight_errors(module, named_plain_tensors(module.weight), "")  # type: ignore[arg-type]
        ]
        if errors:
            raise ValueError(f"quanto: {type(model).__name__}: {'; '.join(errors)}")
        self.quantization_config.describe(model)
        return model

    def get_state_dict_and_metadata(
        self, state_dict: dict[str, Any], safe_serialization: bool = False
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The state dict as it is, and what the file says of its format."""
        return state_dict, file_metadata(self.quantization_config.model)

    @property
    def is_serializable(self) -> bool:
        """Yes."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Adapters train on frozen weights."""
        return True

    @property
    def is_compileable(self) -> bool:
        """Frozen modules compile without graph breaks."""
        return True


def _named(name: str, patterns: list[str]) -> bool:
    """Whether a module is meant: by its own name as in the stock quantizer, or by its full one."""
    leaf = name.rpartition(".")[2]
    return any(
        leaf == pattern or fnmatch(name, pattern) or name.startswith(f"{pattern}.")
        for pattern in patterns
    )


def _owner(model: Any, name: str) -> tuple[Any, str]:
    """The module or wrapper tensor that has the tensor of that name, and the tensor's own name."""
    *path, leaf = name.split(".")
    owner = model
    for part in path:
        owner = getattr(owner, part)
    return owner, leaf


def _is(cls: Any, stock: tuple[str, str]) -> bool:
    return (getattr(cls, "__module__", None), getattr(cls, "__name__", None)) == stock


def register(auto: ModuleType) -> None:
    """Take the place of the stock entries in the mappings of `diffusers.quantizers.auto`."""
    quantizers = auto.AUTO_QUANTIZER_MAPPING
    configs = auto.AUTO_QUANTIZATION_CONFIG_MAPPING
    stock = (quantizers.get("quanto"), configs.get("quanto"))
    if _is(stock[0], _STOCK_QUANTIZER) and _is(stock[1], _STOCK_CONFIG):
        quantizers["quanto"], configs["quanto"] = QuantoQuantizer, QuantoConfig
        _refuse_what_it_cannot_read(stock[0])


def _refuse_what_it_cannot_read(stock: Any) -> None:
    """Have the stock quantizer raise where it leaves a model without some of its weights.

    It loads what it saved. A checkpoint of ours has a map, which it does not know; it gets to read
    one only in a program that has not imported quanto by then.
    """

    def after(self: Any, model: Any, **kwargs: Any) -> Any:
        lost = [name for name, tensor in model.state_dict().items() if tensor.is_meta]
        if self.pre_quantized and lost:
            raise ValueError(
                "quanto: expected `import quanto` before a checkpoint that it wrote is loaded, "
                f"got the quantizer that is built into diffusers, which misses {', '.join(lost)}"
            )
        return model

    stock._process_model_after_weight_loading = after


register(_auto)
