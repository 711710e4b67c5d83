# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as safetensors files: written whole or not at all, mapped when read."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

__all__ = ["safe_load", "safe_save"]

FORMAT_VERSION = "1"
"""Of docs/formats.md."""

_VERSION = "quanto_format_version"
_TIED = "tied"
"""Metadata key: JSON, the stored name by each other name of a tensor."""


def safe_save(
    state_dict: Mapping[str, torch.Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a state dict of plain tensors to a safetensors file.

    The file is written beside `path` and renamed into place, so that `path` never holds half a
    checkpoint. A tensor that has several names is stored once; `safe_load` gives it all of them.

    Raises:
        TypeError: a value is not a tensor.
        OSError: the file cannot be written.
    """
    for key, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"safe_save: expected a tensor for {key}, got {type(value).__name__}")
    tensors, tied = _without_sharing(state_dict)
    if tied:
        metadata = {**(metadata or {}), _TIED: json.dumps(tied)}
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        known = {"format": "pt", _VERSION: FORMAT_VERSION}
        save_file(tensors, temporary, {**known, **(metadata or {})})
        # mkstemp makes private files; a checkpoint gets the permissions any new file would.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        _flush(temporary)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def safe_load(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, mapped: their bytes are read when they are used.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a whole, well-formed safetensors file, or of a later format.
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(f"{name}: expected a safetensors file, got no such file")
    try:
        with safe_open(name, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_version(name, metadata)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            # Without the version the key is another program's, and means something else.
            tied = json.loads(metadata.get(_TIED, "{}")) if _VERSION in metadata else {}
            return tensors | {alias: tensors[key] for alias, key in tied.items()}
    except (SafetensorError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name}: expected a whole safetensors file, got {reason}") from error


def _check_version(name: str, metadata: Mapping[str, str]) -> None:
    """Files without a version are the predecessor's, or of no format of ours."""
    version = metadata.get(_VERSION, FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise ValueError(f"{name}: expected format version {FORMAT_VERSION}, got {version}")


def _without_sharing(
    state_dict: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Contiguous tensors with memory of their own, and the other names of each by first name."""
    tensors: dict[str, torch.Tensor] = {}
    tied: dict[str, str] = {}
    names: dict[tuple[object, ...], str] = {}
    storages: set[int] = set()
    for key, value in state_dict.items():
        storage = value.untyped_storage().data_ptr()
        view = (storage, value.storage_offset(), value.dtype, value.size(), value.stride())
        if storage != 0 and view in names:
            tied[key] = names[view]
            continue
        names[view] = key
        tensor = value.detach().contiguous()
        tensors[key] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    return tensors, tied


def _flush(path: str) -> None:
    """Have the bytes on the disk before the name points to them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
