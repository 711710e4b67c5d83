# SPDX-License-Identifier: Apache-2.0
"""The files of a saved model: tensors in one file or in shards, and the quantization map."""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..safetensors import safe_load

_WEIGHTS = re.compile(r"(.+?)(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")


def load_weights(directory: Path, name: str) -> dict[str, torch.Tensor] | None:
    """The tensors of `name` or of the shards of its index, mapped; None if there is neither file.

    Raises:
        ValueError: the index, or a shard, is malformed.
        FileNotFoundError: a shard of the index is not there.
    """
    index = directory / f"{name}.index.json"
    if (directory / name).is_file():
        return safe_load(directory / name)
    if not index.is_file():
        return None
    weight_map = _weight_map(index)
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        found = safe_load(directory / shard)
        expected = {key for key, name in weight_map.items() if name == shard}
        if set(found) != expected:
            odd = ", ".join(sorted(set(found) ^ expected))
            raise ValueError(f"{index}: expected the tensors of {shard}, got others: {odd}")
        tensors.update(found)
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor, a name in the index's own folder."""
    try:
        weight_map = dict(json.loads(index.read_text())["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{index}: expected an index of shards, got {error}") from error
    for name in weight_map.values():
        plain = isinstance(name, str) and os.path.basename(name) == name
        if not plain or not name.endswith(".safetensors"):
            raise ValueError(f"{index}: expected names of files beside it, got {name!r}")
    return weight_map


def load_map(path: Path) -> dict[str, Any]:
    """A quantization map from its JSON file.

    Raises:
        ValueError: the file does not hold a JSON object.
    """
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: expected a quantization map, got {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a quantization map, got {type(found).__name__}")
    return found


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """A directory for new files, which take the place of those in `directory` when all are written.

    A model whose tensors are mapped from `directory` can so be saved there, and a failure leaves
    the old files. Weights of an earlier save, which may have had another number of shards, go.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".saving.") as name:
        temporary = Path(name)
        yield temporary
        new = [path.relative_to(temporary) for path in temporary.rglob("*") if path.is_file()]
        stems = {_stem(path.name) for path in new} - {None}
        for old in directory.iterdir():
            if _stem(old.name) in stems and Path(old.name) not in new:
                old.unlink()
        for path in new:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / path, directory / path)


def _stem(name: str) -> str | None:
    """`model` for `model.safetensors`, its shards and its index; None for other files."""
    match = _WEIGHTS.fullmatch(name)
    return None if match is None else match[1]
