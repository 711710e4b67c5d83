# SPDX-License-Identifier: Apache-2.0
"""Searchers of scales and shifts."""

from .absmax_optimizer import AbsmaxOptimizer
from .affine_optimizer import AffineOptimizer
from .hqq_optimizer import HqqOptimizer
from .max_optimizer import MaxOptimizer
from .optimizer import Optimizer
from .symmetric_optimizer import SymmetricOptimizer

__all__ = [
    "AbsmaxOptimizer",
    "AffineOptimizer",
    "HqqOptimizer",
    "MaxOptimizer",
    "Optimizer",
    "SymmetricOptimizer",
]
