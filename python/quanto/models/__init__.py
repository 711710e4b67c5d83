# SPDX-License-Identifier: Apache-2.0
"""Quantized models of transformers and diffusers, saved and reloaded with their map.

Neither library is imported before it is used; the wrappers are made when they are first asked for.
"""

import importlib
import importlib.util
from typing import Any

_WRAPPERS = {
    "QuantizedTransformersModel": "transformers_models",
    "QuantizedModelForCausalLM": "transformers_models",
    "QuantizedDiffusersModel": "diffusers_models",
    "QuantizedPixArtTransformer2DModel": "diffusers_models",
}

__all__ = [*_WRAPPERS, "is_diffusers_available", "is_transformers_available"]


def is_transformers_available() -> bool:
    """Whether transformers is installed."""
    return importlib.util.find_spec("transformers") is not None


def is_diffusers_available() -> bool:
    """Whether diffusers is installed."""
    return importlib.util.find_spec("diffusers") is not None


def __getattr__(name: str) -> Any:
    if name not in _WRAPPERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WRAPPERS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WRAPPERS})
