# SPDX-License-Identifier: Apache-2.0
"""The predecessor's table of extensions, which it compiled when they were first used.

Here nothing is compiled at run time: kernels come with the package, as `torch.ops.quanto`. The one
extension there is stands for them under the name that the predecessor has for its CPU kernels.
"""

from dataclasses import dataclass
from typing import Any

import torch

_BUILT_IN = "quanto_cpp"


@dataclass(frozen=True)
class Extension:
    """Kernels by name."""

    name: str

    @property
    def lib(self) -> Any:
        """What holds the functions: the operators of the package."""
        return torch.ops.quanto


def is_extension_available(extension_type: str) -> bool:
    """Whether `get_extension` has it: true of "quanto_cpp" only, always."""
    return extension_type == _BUILT_IN


def get_extension(extension_type: str) -> Extension:
    """The extension of that name; KeyError for any but "quanto_cpp"."""
    if not is_extension_available(extension_type):
        raise KeyError(extension_type)
    return Extension(extension_type)
