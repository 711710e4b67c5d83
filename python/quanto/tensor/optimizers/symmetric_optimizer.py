# SPDX-License-Identifier: Apache-2.0
"""Base of the searchers that find a scale only."""

from abc import abstractmethod

import torch

from ...qtype import qtype
from .optimizer import Optimizer


class SymmetricOptimizer(Optimizer):
    """Finds a scale per tensor or per index of an axis."""

    @torch.no_grad()
    def __call__(self, base: torch.Tensor, qtype: qtype, axis: int | None = None) -> torch.Tensor:
        """Per tensor: a 0-d scale. With an axis: the base's rank, 1 everywhere but the axis."""
        if axis not in (None, 0, -1):
            raise ValueError(f"{type(self).__name__}: expected axis None, 0 or -1, got {axis}")
        if axis is not None and base.shape[axis] == 1:
            axis = None
        return self.optimize(base, qtype, axis)

    @abstractmethod
    def optimize(self, base: torch.Tensor, qtype: qtype, axis: int | None = None) -> torch.Tensor:
        """The scale of a base whose axis was checked."""
