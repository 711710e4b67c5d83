# SPDX-License-Identifier: Apache-2.0
"""The quantizer of transformers: on the fly, saved, and loaded by a bare `from_pretrained`."""

from functools import partial
from types import MethodType, ModuleType
from typing import Any

from transformers.quantizers import auto as _auto
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import get_module_from_name, should_convert_module
from transformers.utils.quantization_config import QuantizationConfigMixin, QuantizationMethod

from ..mapping import quantization_map
from ..nn.qmodule import QModuleMixin
from ..qtype import as_qtype
from .metadata import file_metadata
from .offload import index_offloaded
from .placement import check_frozen, place_by_map, place_linears
from .settings import QuantoSettings

_STOCK_QUANTIZER = ("transformers.quantizers.quantizer_quanto", "QuantoHfQuantizer")
_STOCK_CONFIG = ("transformers.utils.quantization_config", "QuantoConfig")
_INNER = ["weight._data._data", "weight._data", "weight._scale", "weight._shift"]
_CHECK = "_adjust_missing_and_unexpected_keys"


class QuantoConfig(QuantoSettings, QuantizationConfigMixin):  # type: ignore[misc]
    """`quantization_config` for `from_pretrained`; the stock class of that name is taken too.

    See `QuantoSettings`. Static activations have to be calibrated after the model is loaded.
    """

    METHOD = QuantizationMethod.QUANTO


class QuantoHfQuantizer(HfQuantizer):  # type: ignore[misc]
    """Quantizes weight by weight while a float checkpoint is read, and reads what was so saved.

    A checkpoint's tensors become the model's as they lie in the mapped file.
    """

    requires_calibration = False

    def __init__(self, quantization_config: Any, **kwargs: Any) -> None:
        if not isinstance(quantization_config, QuantoConfig):
            quantization_config = QuantoConfig.from_dict(quantization_config.to_dict())
        super().__init__(quantization_config, **kwargs)
        self.errors: list[str] = []
        self.checkpoint_files: list[str] = []

    def validate_environment(self, *args: Any, **kwargs: Any) -> None:
        """Raise ValueError for what on-the-fly quantization cannot do."""
        device_map = kwargs.get("device_map")
        devices = set(device_map.values()) if isinstance(device_map, dict) else {device_map}
        if not self.pre_quantized and "disk" in devices:
            raise ValueError(
                "quanto: expected a device_map without disk to quantize on the fly, got one: "
                "save the quantized model first, then load that with this device_map"
            )

    def param_needs_quantization(self, model: Any, param_name: str, **kwargs: Any) -> bool:
        """Whether this is the float weight of a module that will be quantized."""
        module, leaf = get_module_from_name(model, param_name)
        return (
            isinstance(module, QModuleMixin)
            and leaf == "weight"
            and module.weight_qtype is not None
            and not module.frozen
        )

    @property
    def quantized_element_size(self) -> float | None:
        """Bytes, for the estimate of a device map."""
        return as_qtype(self.quantization_config.weights).bits / 8

    def adjust_max_memory(self, max_memory: dict[Any, Any]) -> dict[Any, Any]:
        """Room for scales, and for the float weight that is being quantized."""
        return {device: size * 0.9 for device, size in max_memory.items()}

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> None:
        if self.pre_quantized and self.quantization_config.modules is not None:
            place_by_map(model, _names_in(model, self.quantization_config.modules))
        else:
            self._place_linears(model)
        if self.pre_quantized:
            self.checkpoint_files = list(kwargs.get("checkpoint_files") or [])
            self._check_when_loaded(model)

    def _place_linears(self, model: Any) -> None:
        keep = model._keep_in_fp32_modules
        asked = self.quantization_config.modules_to_not_convert
        skip = self.get_modules_to_not_convert(model, asked, keep)
        self.quantization_config.modules_to_not_convert = sorted(skip)
        tied = dict(model.all_tied_weights_keys)
        tied |= {source: target for target, source in tied.items()}
        wanted = partial(should_convert_module, patterns=skip)
        place_linears(model, self.quantization_config, wanted, tied)

    def _check_when_loaded(self, model: Any) -> None:
        """Have the load fail where the library would only report and fill in random weights."""
        adjust = getattr(model, _CHECK)

        def adjust_and_check(model: Any, loading_info: Any) -> None:
            model.__dict__.pop(_CHECK)
            adjust(loading_info)
            self._check_loading(model, loading_info)

        model.__dict__[_CHECK] = MethodType(adjust_and_check, model)

    def _check_loading(self, model: Any, info: Any) -> None:
        errors = list(self.errors)
        if info.missing_keys:
            errors.append(f"missing keys: {', '.join(sorted(info.missing_keys))}")
        # A model without the head of the one that was saved leaves the head's tensors aside.
        if info.unexpected_keys and type(model).__name__ in (model.config.architectures or []):
            errors.append(f"unexpected keys: {', '.join(sorted(info.unexpected_keys))}")
        if errors:
            raise ValueError(f"quanto: {type(model).__name__}: {'; '.join(errors)}")

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        check_frozen(model, f"quanto: {type(model).__name__}")
        if "disk" in getattr(model, "hf_device_map", {}).values():
            index_offloaded(model, self.checkpoint_files)
        # Saving would run conversions backwards, which do not know inner tensors.
        model._weight_conversions = []
        self.quantization_config.describe(model)
        return model

    def get_quantize_ops(self) -> Any:
        """What turns a float weight that was read into codes."""
        from .transformers_loading import QuantizeWeight

        return QuantizeWeight(self)

    @property
    def serialized_names(self) -> dict[str, list[str]]:
        """The keys that together make a weight."""
        return {"weight": _INNER} if self.pre_quantized else {}

    def get_load_operations(self) -> dict[str, Any]:
        """What makes a weight of the tensors under these keys."""
        from .transformers_loading import BuildWeight

        return {"deserialize": BuildWeight}

    def get_state_dict_and_metadata(self, model: Any) -> tuple[None, dict[str, str]]:
        """The model's own state dict, and what the file says of its format."""
        check_frozen(model, "save_pretrained")
        self.quantization_config.modules = quantization_map(model)
        return None, file_metadata(model)

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


def _names_in(model: Any, modules: dict[str, Any]) -> dict[str, Any]:
    """The map with the names of this model, which may be the base of the saved one or hold it.

    Modules of a head that this model does not have are left out.
    """
    if type(model).__name__ in (model.config.architectures or []):
        return modules
    prefix = f"{model.base_model_prefix}."
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    found = {}
    for name, entry in modules.items():
        for candidate in (name, name.removeprefix(prefix), prefix + name):
            if candidate in names:
                found[candidate] = entry
                break
    return found


def _is(cls: Any, stock: tuple[str, str]) -> bool:
    return (getattr(cls, "__module__", None), getattr(cls, "__name__", None)) == stock


def register(auto: ModuleType) -> None:
    """Take the place of the stock entries in the mappings of `transformers.quantizers.auto`."""
    quantizers = auto.AUTO_QUANTIZER_MAPPING
    configs = auto.AUTO_QUANTIZATION_CONFIG_MAPPING
    stock = quantizers.get("quanto")
    if not (_is(stock, _STOCK_QUANTIZER) and _is(configs.get("quanto"), _STOCK_CONFIG)):
        return
    quantizers["quanto"], configs["quanto"] = QuantoHfQuantizer, QuantoConfig
    _refuse_checkpoints(stock)


def _refuse_checkpoints(stock: Any) -> None:
    """Have the stock quantizer raise when it is given a checkpoint, which it cannot read.

    A program that has not imported quanto by then would else get a model of random weights.
    """

    def after(self: Any, model: Any, **kwargs: Any) -> Any:
        if self.pre_quantized:
            raise ValueError(
                "quanto: expected `import quanto` before a checkpoint that it wrote is loaded, "
                "got the quantizer that is built into transformers"
            )
        return model

    stock._process_model_after_weight_loading = after


register(_auto)
