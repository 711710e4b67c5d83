# SPDX-License-Identifier: Apache-2.0
"""Registering with a library when it is imported, or now if it is imported already."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_INTEGRATIONS = {
    "transformers.quantizers.auto": "quanto.integrations.transformers",
    "diffusers.quantizers.auto": "quanto.integrations.diffusers",
}
"""Ours by the module that holds a library's mappings; ours has `register(module)`."""

_MAPPINGS = ("AUTO_QUANTIZER_MAPPING", "AUTO_QUANTIZATION_CONFIG_MAPPING")


class PostImportFinder(MetaPathFinder):
    """Finds the modules of `_INTEGRATIONS` as they are found without it, and has us registered.

    It runs under the import lock of that very module and takes no other, so that whoever imports
    the library, in whatever thread, sees our entries as soon as the import returns.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The spec of the next finder, its loader registering us after it has run the module."""
        if fullname not in _INTEGRATIONS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            _register_after(spec.loader)
        return spec


def _register_after(loader: object) -> None:
    """Shadow the loader's `exec_module`, on this instance and for one call."""
    run = loader.exec_module  # type: ignore[attr-defined]

    def exec_module(module: ModuleType) -> None:
        vars(loader).pop("exec_module", None)
        run(module)
        _register(module)

    loader.exec_module = exec_module  # type: ignore[attr-defined]


def _register(module: ModuleType) -> None:
    """Put our entries into the module's mappings; what prevents it is one warning, not an error.

    An import of the library must not fail because a release of it is not known to us. An
    integration that is itself what imports the library registers at its end.
    """
    try:
        ours = import_module(_INTEGRATIONS[module.__name__])
        if hasattr(ours, "register"):
            ours.register(module)
    except Exception as error:
        library = module.__name__.partition(".")[0]
        warnings.warn(
            f"quanto: expected to register with {library}, got {type(error).__name__}: {error}",
            stacklevel=2,
        )


def register_integrations() -> None:
    """Register with the libraries that are imported, and with the others when they will be."""
    if not any(isinstance(finder, PostImportFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, PostImportFinder())
    for name in _INTEGRATIONS:
        module = sys.modules.get(name)
        if module is None:
            continue
        if not all(hasattr(module, mapping) for mapping in _MAPPINGS):
            module = import_module(name)  # another thread is at it: waits until it is done
        _register(module)
