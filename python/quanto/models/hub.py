# SPDX-License-Identifier: Apache-2.0
"""What comes from huggingface_hub, which transformers and diffusers bring."""

import importlib
import importlib.util
import inspect
import os
from pathlib import Path
from typing import Any


def _mixin() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        return object
    return importlib.import_module("huggingface_hub").ModelHubMixin


HubMixin: Any = _mixin()
"""`huggingface_hub.ModelHubMixin`; `object` without it, where nothing can be wrapped either."""


def snapshot(source: str | os.PathLike[str], options: dict[str, Any]) -> Path:
    """The directory itself, or a snapshot of the repository of that name.

    The options of `huggingface_hub.snapshot_download` are taken out of `options`.
    """
    path = Path(source)
    download = importlib.import_module("huggingface_hub").snapshot_download
    names = [name for name in inspect.signature(download).parameters if name in options]
    taken = {name: options.pop(name) for name in names}
    return path if path.is_dir() else Path(download(os.fspath(source), **taken))
