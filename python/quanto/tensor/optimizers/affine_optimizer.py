# SPDX-License-Identifier: Apache-2.0
"""Base of the searchers that find a scale and a shift."""

from abc import abstractmethod

import torch

from ...qtype import qtype
from ..grouped import group
from .optimizer import Optimizer


class AffineOptimizer(Optimizer):
    """Finds a scale and a shift per index of an axis, or per group along it."""

    @torch.no_grad()
    def __call__(
        self,
        base: torch.Tensor,
        qtype: qtype,
        axis: int,
        group_size: int | None = None,
        zeropoint: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift, which is in units of the weight, or with `zeropoint` a uint8 code."""
        if axis not in (0, -1):
            raise ValueError(f"{type(self).__name__}: expected axis 0 or -1, got {axis}")
        return self._search(base, qtype, axis, group_size, zeropoint)

    def _search(
        self, base: torch.Tensor, qtype: qtype, axis: int, group_size: int | None, zeropoint: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        grouped = base if group_size is None else group(base, axis, group_size)
        scale, shift = self.optimize(grouped, qtype, axis)
        if zeropoint:
            shift = torch.clamp(torch.round(shift / scale), 0, 2**qtype.bits - 1).to(torch.uint8)
        return scale, shift

    @abstractmethod
    def optimize(
        self, base: torch.Tensor, qtype: qtype, axis: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and float shift of a base that is grouped already."""
