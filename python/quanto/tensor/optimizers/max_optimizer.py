# SPDX-License-Identifier: Apache-2.0
"""Scales and shifts from the extremes."""

import torch

from ... import library
from ...qtype import qtype
from .affine_optimizer import AffineOptimizer


class MaxOptimizer(AffineOptimizer):
    """Spans the range from the smallest to the largest value."""

    def optimize(
        self, base: torch.Tensor, qtype: qtype, axis: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and float shift from the range."""
        return self._search(base, qtype, axis, None, False)

    def _search(
        self, base: torch.Tensor, qtype: qtype, axis: int, group_size: int | None, zeropoint: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return library.max_scale(base, qtype.bits, axis, group_size, zeropoint)
