# SPDX-License-Identifier: Apache-2.0
"""Saving and loading quantized models of transformers and diffusers, whatever their class."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from .integrations.placement import check_frozen
from .integrations.settings import QuantoSettings, settings_of
from .nn.qmodule import QModuleMixin
from .requantize import requantize

__all__ = ["load", "save_pretrained"]

_BASES = {
    ("transformers.modeling_utils", "PreTrainedModel"): "transformers",
    ("diffusers.models.modeling_utils", "ModelMixin"): "diffusers",
}
_WEIGHTS = {
    "transformers": "model.safetensors",
    "diffusers": "diffusion_pytorch_model.safetensors",
}
_PREDECESSOR = "quanto_qmap.json"


def save_pretrained(model: nn.Module, directory: str | os.PathLike[str], **kwargs: Any) -> None:
    """Write a frozen model of transformers or diffusers so that `load` gives back its equal.

    It is the library's own `save_pretrained`, which gets `kwargs`; the quantization map, calibrated
    scales and which sides are quantized with it, goes into `config.json`. Once quanto is imported,
    a bare `from_pretrained` of the model's class loads the directory too. The model is not changed.
    Files take the place of old ones when all are written: a model that is mapped from the directory
    can be saved there.

    Raises:
        TypeError: the model is of neither library.
        ValueError: it has no quantized module, or one that is not frozen.
        NotADirectoryError: the path is that of a file.
    """
    library = _library_of(model)
    if not any(isinstance(module, QModuleMixin) for module in model.modules()):
        raise ValueError("save_pretrained: expected a model with quantized modules, got none")
    check_frozen(model, "save_pretrained (see quanto.freeze)")
    if os.path.isfile(directory):
        raise NotADirectoryError(f"save_pretrained: expected a directory, got a file: {directory}")
    from .models.checkpoint import replacing

    save = _save_transformers if library == "transformers" else _save_diffusers
    with replacing(Path(directory)) as temporary:
        save(model, temporary, kwargs)


def _library_of(model: nn.Module) -> str:
    for base in type(model).__mro__:
        library = _BASES.get((base.__module__, base.__name__))
        if library is not None:
            return library
    raise TypeError(
        "save_pretrained: expected a model of transformers or diffusers, "
        f"got {type(model).__name__} (quanto.safe_save writes any state dict)"
    )


@contextmanager
def _attributes(owner: Any, **values: Any) -> Iterator[None]:
    """Set attributes for a while."""
    before = {name: vars(owner)[name] for name in values if name in vars(owner)}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name in values:
            if name in before:
                setattr(owner, name, before[name])
            else:
                delattr(owner, name)


def _save_transformers(model: Any, directory: Path, kwargs: Mapping[str, Any]) -> None:
    from .integrations.transformers import QuantoConfig, QuantoHfQuantizer

    settings = _described(QuantoConfig(**settings_of(model)), model)
    quantizer = QuantoHfQuantizer(settings)
    changed: dict[str, Any] = {"quantization_config": settings}
    if _untied(model):
        changed["tie_word_embeddings"] = False
    with _attributes(model, hf_quantizer=quantizer), _attributes(model.config, **changed):
        # Names as they are in memory: conversions of float checkpoints do not know inner tensors.
        model.save_pretrained(directory, **{"save_original_format": False, **kwargs})


def _untied(model: Any) -> bool:
    """Whether a head has a weight of its own now, although the config says it is tied."""
    head, inputs = model.get_output_embeddings(), model.get_input_embeddings()
    if not getattr(model.config, "tie_word_embeddings", False) or head is None:
        return False
    return head.weight is not inputs.weight


def _save_diffusers(model: Any, directory: Path, kwargs: Mapping[str, Any]) -> None:
    from .integrations.diffusers import QuantoConfig, QuantoQuantizer

    settings = _described(QuantoConfig(**settings_of(model)), model)
    quantizer = QuantoQuantizer(settings)
    with _attributes(model, hf_quantizer=quantizer, _internal_dict=model._internal_dict):
        model.register_to_config(quantization_config=settings)
        model.save_pretrained(directory, **kwargs)


def _described(settings: QuantoSettings, model: nn.Module) -> QuantoSettings:
    settings.describe(model)
    return settings


def load(directory: str | os.PathLike[str], *, model_class: Any = None, **kwargs: Any) -> Any:
    """The model that `save_pretrained` wrote, computing exactly what the saved one did.

    Its class is the one that `config.json` names, or `model_class`, and gets `kwargs` in its
    `from_pretrained`. Weights are mapped from the file. Directories of the predecessor's wrappers
    (`quanto_qmap.json` beside the weights) are loaded too, and take no `kwargs`.

    Raises:
        FileNotFoundError: there is no such directory, or a file of it is missing.
        ValueError: it is not a quantized model, of a class that is not known, written by a newer
            version, or its tensors are not those of the model.
    """
    path = Path(directory)
    if not path.is_dir():
        raise FileNotFoundError(f"load: expected a directory, got {path}")
    config = _read_json(path / "config.json")
    library, cls = _class_of(path, config, model_class)
    settings = config.get("quantization_config")
    if isinstance(settings, dict):
        method = settings.get("quant_method")
        if method != "quanto":
            raise ValueError(f"{path}: expected a model quantized by quanto, got {method!r}")
        return cls.from_pretrained(os.fspath(path), **{"local_files_only": True, **kwargs})
    if (path / _PREDECESSOR).is_file():
        if kwargs:
            raise ValueError(
                f"{path}: expected no {', '.join(kwargs)} for a directory with {_PREDECESSOR}"
            )
        return _load_predecessor(path, library, cls)
    raise ValueError(
        f"{path}: expected a quantized model, got neither quantization_config nor {_PREDECESSOR}"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: expected the model's config, got no such file") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _class_of(path: Path, config: Mapping[str, Any], given: Any) -> tuple[str, Any]:
    """The library that the config is of, and the class in it."""
    library = "diffusers" if "_class_name" in config else "transformers"
    if given is not None:
        return library, given
    module = _import(library, path)
    names = config.get("architectures") or [None]
    name = config["_class_name"] if library == "diffusers" else names[0]
    cls = getattr(module, name, None) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(
            f"{path}: expected config.json to name a class of {library}, got {name!r} "
            "(pass model_class)"
        )
    return library, cls


def _import(library: str, path: Path) -> Any:
    import importlib

    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(f"{path}: expected {library} to be installed, got {error}") from error


def _load_predecessor(path: Path, library: str, cls: Any) -> nn.Module:
    """A directory of the wrappers: a float config, and the map in a file of its own."""
    from .models.checkpoint import load_map, load_weights
    from .models.empty import empty_weights

    quantization_map = load_map(path / _PREDECESSOR)
    tensors = load_weights(path, _WEIGHTS[library])
    if tensors is None:
        raise FileNotFoundError(f"{path}: expected {_WEIGHTS[library]}, got no such file")
    with empty_weights():
        if library == "transformers":
            model = cls._from_config(cls.config_class.from_pretrained(path))
        else:
            model = cls.from_config(path)
    requantize(model, tensors, quantization_map, device="cpu")
    if library == "transformers":
        model.tie_weights()
    quantized: nn.Module = model.eval()
    return quantized
