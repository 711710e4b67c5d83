# SPDX-License-Identifier: Apache-2.0
"""What every searcher of scales is."""

from abc import ABC, abstractmethod
from typing import Any


class Optimizer(ABC):
    """Finds the scale (and shift) with which a tensor is quantized."""

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The scale, or the scale and the shift, without a gradient."""
