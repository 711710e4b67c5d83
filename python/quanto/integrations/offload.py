# SPDX-License-Identifier: Apache-2.0
"""Quantized weights that accelerate leaves on the disk: read from the checkpoint when needed."""

from collections.abc import Iterable, Iterator
from typing import Any

from safetensors import safe_open

from ..nn.state import FLOATS
from ..tensor.qtensor import named_plain_tensors
from .placement import quantized_modules


def _hooks(module: Any) -> Iterator[Any]:
    hook = getattr(module, "_hf_hook", None)
    yield from getattr(hook, "hooks", [hook])


def index_offloaded(model: Any, checkpoint_files: Iterable[str]) -> None:
    """Tell accelerate's hooks where in the checkpoint the inner tensors of each weight lie.

    The library's index holds only what has one key in the file and in the model.

    Raises ValueError if a tensor that is to stay on the disk is not in these files.
    """
    files = _files_by_key(checkpoint_files)
    prefix = f"{model.base_model_prefix}."
    for name, module in quantized_modules(model):
        for hook in _hooks(module):
            weights = getattr(hook, "weights_map", None)
            if not getattr(hook, "offload", False) or weights is None:
                continue
            tensors = named_plain_tensors(module.weight)  # type: ignore[arg-type]
            for leaf in tensors:
                key = f"{name}.weight.{leaf}"
                found = next(
                    (k for k in (key, prefix + key, key.removeprefix(prefix)) if k in files), None
                )
                if found is None:
                    raise ValueError(f"quanto: expected {key} in the checkpoint, got none")
                info = {"safetensors_file": files[found], "weight_name": found}
                if tensors[leaf].dtype in FLOATS:
                    info["dtype"] = str(tensors[leaf].dtype).removeprefix("torch.")
                weights.dataset.index[key] = info


def _files_by_key(checkpoint_files: Iterable[str]) -> dict[str, str]:
    files = {}
    for path in checkpoint_files:
        with safe_open(path, framework="pt") as file:
            files.update(dict.fromkeys(file.keys(), path))
    return files
