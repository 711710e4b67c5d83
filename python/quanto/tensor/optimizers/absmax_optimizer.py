# SPDX-License-Identifier: Apache-2.0
"""Scales from the largest magnitude."""

import torch

from ... import library
from ...qtype import qtype
from .symmetric_optimizer import SymmetricOptimizer


class AbsmaxOptimizer(SymmetricOptimizer):
    """The largest magnitude over the largest code (127 for qint8)."""

    def optimize(self, base: torch.Tensor, qtype: qtype, axis: int | None = None) -> torch.Tensor:
        """The largest magnitude over the largest code."""
        return library.absmax_scale(base, qtype.name, axis)
