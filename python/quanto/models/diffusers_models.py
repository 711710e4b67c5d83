# SPDX-License-Identifier: Apache-2.0
"""Wrappers of diffusers' models."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from .empty import empty_weights
from .wrapper import LazyClass, QuantizedModel


class QuantizedDiffusersModel(QuantizedModel):
    """A quantized `diffusers.ModelMixin`.

    To reload one, use a subclass whose `base_class` is the model's class.
    """

    LIBRARY = "diffusers"
    WEIGHTS = "diffusion_pytorch_model.safetensors"
    base_class: ClassVar[Any] = None

    @classmethod
    def _is_kind(cls, model: object) -> bool:
        return isinstance(model, cls._library().ModelMixin)

    @classmethod
    def _check_reloadable(cls) -> None:
        if cls.base_class is None:
            raise ValueError("The `base_class` attribute needs to be configured.")

    @classmethod
    def _empty(
        cls, directory: Path, dtype: torch.dtype | None, options: dict[str, Any]
    ) -> tuple[nn.Module, list[str]]:
        config, unused = cls.base_class.load_config(directory, return_unused_kwargs=True, **options)
        found, wanted = config.get("_class_name"), cls.base_class.__name__
        if found != wanted:
            raise ValueError(
                f"Configured base class ({wanted}) differs from what was derived from the provided "
                f"configuration ({found})."
            )
        with empty_weights():
            model: nn.Module = cls.base_class.from_config(config)
        return model if dtype is None else model.to(dtype), [n for n in unused if n in options]

    def _write(self, directory: Path) -> None:
        model: Any = self._wrapped
        model.save_pretrained(directory, **self._save_options)


class QuantizedPixArtTransformer2DModel(QuantizedDiffusersModel):
    """A quantized `diffusers.PixArtTransformer2DModel`."""

    base_class: ClassVar[Any] = LazyClass("diffusers", "PixArtTransformer2DModel")
