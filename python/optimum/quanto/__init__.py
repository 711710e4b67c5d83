# SPDX-License-Identifier: Apache-2.0
"""The name of the predecessor: `optimum.quanto` and its submodules are those of `quanto`.

There is no `optimum/__init__.py`: other distributions own parts of that namespace.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import quanto  # noqa: F401  (loads all that is aliased below)

if TYPE_CHECKING:
    from quanto import *  # noqa: F403
    from quanto import __version__ as __version__

_PREFIX = "optimum."


class _Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `optimum.quanto.x` as the module `quanto.x`, when that is first imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith("optimum.quanto."):
            return None
        real = importlib.util.find_spec(fullname.removeprefix(_PREFIX))
        if real is None:
            return None
        locations = real.submodule_search_locations
        return importlib.util.spec_from_loader(fullname, self, is_package=locations is not None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(spec.name.removeprefix(_PREFIX))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """The module ran under its own name; only its spec is to be put back."""
        alias = module.__spec__
        assert alias is not None
        module.__spec__ = alias.loader_state


sys.meta_path.insert(0, _Alias())
for _name, _module in list(sys.modules.items()):
    if _name == "quanto" or _name.startswith("quanto."):
        sys.modules[_PREFIX + _name] = _module
