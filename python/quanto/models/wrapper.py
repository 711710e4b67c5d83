# SPDX-License-Identifier: Apache-2.0
"""What the wrappers of quantized models have in common."""

import importlib
import inspect
import json
import os
import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from typing_extensions import Self

from ..mapping import quantization_map
from ..nn.state import FLOATS
from ..qtype import qtype
from ..quantize import freeze, quantize
from ..requantize import requantize
from ..tensor.optimizers import Optimizer
from .checkpoint import load_map, load_weights, replacing
from .hub import HubMixin, snapshot

Patterns = str | list[str] | None


class LazyClass:
    """A class attribute that is a class of another library, imported when it is first read."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        return getattr(importlib.import_module(self._module), self._name)


class QuantizedModel(HubMixin):  # type: ignore[misc]
    """A quantized model with `from_pretrained` and `save_pretrained`.

    It is not an `nn.Module`: whatever it does not have itself is read from, and set on, the model
    it wraps, so that `wrapper.to(device)` gives the inner model.
    """

    BASE_NAME: ClassVar[str] = "quanto"
    LIBRARY: ClassVar[str]
    WEIGHTS: ClassVar[str]

    _wrapped: nn.Module

    def __init__(self, model: nn.Module) -> None:
        if not self._is_kind(model) or not quantization_map(model):
            raise ValueError(f"The source model must be a quantized {self.LIBRARY} model.")
        self.__dict__["_wrapped"] = model
        self.__dict__["_save_options"] = {}

    def __getattr__(self, name: str) -> Any:
        wrapped = self.__dict__.get("_wrapped")
        if wrapped is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(wrapped, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_wrapped" in self.__dict__ and not name.startswith("_hub_mixin"):
            setattr(self._wrapped, name, value)
        else:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._wrapped)})

    def __repr__(self) -> str:
        return repr(self._wrapped)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """That of the wrapped model."""
        return self._wrapped.forward(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped model, its hooks included."""
        return self._wrapped(*args, **kwargs)

    @classmethod
    def quantize(
        cls,
        model: nn.Module,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        optimizer: Optimizer | None = None,
        include: Patterns = None,
        exclude: Patterns = None,
        *,
        group_size: int | None = None,
        dynamic: bool = False,
    ) -> Self:
        """Quantize and freeze a model in place, and wrap it; arguments as of `quanto.quantize`."""
        if not cls._is_kind(model):
            raise ValueError(f"The source model must be a {cls.LIBRARY} model.")
        quantize(
            model,
            weights=weights,
            activations=activations,
            optimizer=optimizer,
            include=include,
            exclude=exclude,
            group_size=group_size,
            dynamic=dynamic,
        )
        freeze(model)
        return cls(model)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self:
        """Reload what `save_pretrained` wrote, from a directory or from the hub, in eval mode.

        Tensors stay mapped to the file. `dtype` (or `torch_dtype`) changes that of scales and of
        float tensors; `subfolder` and the options of `huggingface_hub.snapshot_download` say where
        the files are; others go to the model's configuration. What nothing reads is one warning.

        Raises:
            ValueError: there is no quantization map, there are no weights, they do not match the
                model, or the class has no model class of its own.
        """
        cls._library()
        cls._check_reloadable()
        dtype = _dtype(kwargs)
        subfolder = kwargs.pop("subfolder", None) or ""
        directory = snapshot(pretrained_model_name_or_path, kwargs) / subfolder
        name = pretrained_model_name_or_path
        if not (directory / cls._qmap_name()).is_file():
            raise ValueError(f"No quantization map found in {name}: is this a quantized model ?")
        mapping = load_map(directory / cls._qmap_name())
        tensors = load_weights(directory, cls.WEIGHTS)
        if tensors is None:
            raise ValueError(f"No safetensor weights found in {name}.")
        if dtype is not None:
            tensors = {k: t.to(dtype) if t.dtype in FLOATS else t for k, t in tensors.items()}
        model, unused = cls._empty(directory, dtype, kwargs)
        if unused:
            message = f"from_pretrained: ignored, as nothing reads them: {', '.join(unused)}"
            warnings.warn(message, stacklevel=2)
        requantize(model, tensors, mapping)
        cls._finish(model, directory)
        return cls(model.eval())

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        max_shard_size: int | str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Write configuration, tensors (safetensors) and `quanto_qmap.json`; a card if it can.

        Files are written beside the old ones and take their place when all are there.

        Args:
            save_directory: made if it is not there.
            max_shard_size: as of the library's own `save_pretrained`, whose default holds.
            kwargs: those of `huggingface_hub.ModelHubMixin.save_pretrained`, such as
                `push_to_hub` and `repo_id`.
        """
        options = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
        self.__dict__["_save_options"] = options
        return super().save_pretrained(save_directory, **kwargs)

    def _save_pretrained(self, save_directory: Path) -> None:
        with replacing(Path(save_directory)) as directory:
            self._write(directory)
            text = json.dumps(quantization_map(self._wrapped), indent=4)
            (directory / self._qmap_name()).write_text(text)

    @classmethod
    def _library(cls) -> Any:
        """The library's module; ImportError where it is not installed."""
        try:
            return importlib.import_module(cls.LIBRARY)
        except ModuleNotFoundError as error:
            message = f"{cls.__name__}: expected {cls.LIBRARY} to be installed, got {error}"
            raise ImportError(message) from error

    @classmethod
    def _qmap_name(cls) -> str:
        return f"{cls.BASE_NAME}_qmap.json"

    @classmethod
    def _is_kind(cls, model: object) -> bool:
        """Whether this is a model of the library."""
        raise NotImplementedError

    @classmethod
    def _check_reloadable(cls) -> None:
        """Raise ValueError unless the class knows which model class to build."""
        raise NotImplementedError

    @classmethod
    def _empty(
        cls, directory: Path, dtype: torch.dtype | None, options: dict[str, Any]
    ) -> tuple[nn.Module, list[str]]:
        """The model with its parameters on the meta device, and the options that nothing read."""
        raise NotImplementedError

    @classmethod
    def _finish(cls, model: nn.Module, directory: Path) -> None:
        """What is left to do with a reloaded model."""

    def _write(self, directory: Path) -> None:
        """Write configuration and tensors."""
        raise NotImplementedError


def _dtype(options: dict[str, Any]) -> torch.dtype | None:
    """The dtype asked for, taken from the options; "auto" is that of the file."""
    old, new = options.pop("torch_dtype", None), options.pop("dtype", None)
    value = old if new is None else new
    if value in (None, "auto"):
        return None
    found = getattr(torch, value, None) if isinstance(value, str) else value
    if not isinstance(found, torch.dtype) or found not in FLOATS:
        raise ValueError(f"from_pretrained: expected a float dtype, got {value!r}")
    return found


def accepted(function: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that are parameters of the function."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in parameters}
