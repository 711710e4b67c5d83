# SPDX-License-Identifier: Apache-2.0
"""What a class of quantized modules says of itself to `quantize`."""

from typing import ClassVar

from torch import nn

from ..qtype import qtype


class QModuleKind:
    """A class of quantized modules overrides what is different for it.

    Attributes:
        quantizes_weight: whether its weight is quantized, and so needs a type.
        only_when_named: whether `quantize` makes one only where `include` names the module.
    """

    quantizes_weight: ClassVar[bool] = True
    only_when_named: ClassVar[bool] = False

    @classmethod
    def applies(cls, activations: qtype | str | None, dynamic: bool) -> bool:
        """Whether anything would be quantized with these activations."""
        return True

    @classmethod
    def obstacle(cls, module: nn.Module) -> str | None:
        """Why this module, whose weight and forward are as they should be, cannot be quantized."""
        return None
