# SPDX-License-Identifier: Apache-2.0
"""Wrappers of transformers' models."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from .empty import empty_weights
from .wrapper import LazyClass, QuantizedModel, accepted


class QuantizedTransformersModel(QuantizedModel):
    """A quantized `transformers.PreTrainedModel`.

    To reload one, use a subclass whose `auto_class` builds models from a configuration.
    """

    LIBRARY = "transformers"
    WEIGHTS = "model.safetensors"
    auto_class: ClassVar[Any] = None

    @classmethod
    def _is_kind(cls, model: object) -> bool:
        return isinstance(model, cls._library().PreTrainedModel)

    @classmethod
    def _check_reloadable(cls) -> None:
        if cls.auto_class is None:
            raise ValueError(
                f"Quantized models cannot be reloaded using {cls.__name__}: use a specialized "
                "quantized class such as QuantizedModelForCausalLM instead."
            )

    @classmethod
    def _empty(
        cls, directory: Path, dtype: torch.dtype | None, options: dict[str, Any]
    ) -> tuple[nn.Module, list[str]]:
        trust = {
            name: options.pop(name)
            for name in ("trust_remote_code", "code_revision")
            if name in options
        }
        config, unused = cls._library().AutoConfig.from_pretrained(
            directory, return_unused_kwargs=True, **trust, **options
        )
        if dtype is not None:
            config.dtype = dtype
        with empty_weights():
            model = cls.auto_class.from_config(config, **trust)
        return model, [name for name in unused if name in options]

    @classmethod
    def _finish(cls, model: Any, directory: Path) -> None:
        if getattr(model.config, "tie_word_embeddings", False):
            model.tie_weights()
        if model.can_generate() and (directory / "generation_config.json").is_file():
            generation = cls._library().GenerationConfig
            model.generation_config = generation.from_pretrained(directory)

    def _write(self, directory: Path) -> None:
        model: Any = self._wrapped
        config = model.config
        tied = getattr(config, "tie_word_embeddings", None)
        if tied and not _stays_tied(model):
            config.tie_word_embeddings = False
        # In-memory names: a reload builds the model from its class, not from the original file.
        options = accepted(model.save_pretrained, {"save_original_format": False})
        try:
            model.save_pretrained(directory, **options, **self._save_options)
        finally:
            if tied is not None:
                config.tie_word_embeddings = tied


class QuantizedModelForCausalLM(QuantizedTransformersModel):
    """A quantized language model, reloaded through `transformers.AutoModelForCausalLM`."""

    auto_class: ClassVar[Any] = LazyClass("transformers", "AutoModelForCausalLM")


def _stays_tied(model: Any) -> bool:
    """Whether the head, if there is one, still has the weight of the input embeddings."""
    inputs, head = model.get_input_embeddings(), model.get_output_embeddings()
    return inputs is None or head is None or head.weight is inputs.weight
