# SPDX-License-Identifier: Apache-2.0
"""Scales and shifts by half-quadratic quantization."""

import logging

import torch

from ... import library
from ...qtype import qtype
from .affine_optimizer import AffineOptimizer

logger = logging.getLogger("quanto")


class HqqOptimizer(AffineOptimizer):
    """Refines the shift of `MaxOptimizer`, stopping when the mean absolute error does not improve.

    See Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (2023).
    """

    def __init__(
        self,
        lp_norm: float = 0.7,
        beta: float = 10.0,
        kappa: float = 1.01,
        iters: int = 20,
        verbose: bool = False,
    ) -> None:
        self.lp_norm = lp_norm
        self.beta = beta
        self.kappa = kappa
        self.iters = iters
        self.verbose = verbose

    def optimize(
        self, base: torch.Tensor, qtype: qtype, axis: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and refined float shift."""
        return self._search(base, qtype, axis, None, False)

    def _search(
        self, base: torch.Tensor, qtype: qtype, axis: int, group_size: int | None, zeropoint: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        scale, shift = library.hqq_scale(
            base,
            qtype.bits,
            axis,
            group_size,
            zeropoint,
            self.lp_norm,
            self.beta,
            self.kappa,
            self.iters,
        )
        if self.verbose:
            self._log(base, qtype, axis, group_size, scale, shift)
        return scale, shift

    def _log(
        self,
        base: torch.Tensor,
        qtype: qtype,
        axis: int,
        group_size: int | None,
        scale: torch.Tensor,
        shift: torch.Tensor,
    ) -> None:
        codes = library.quantize_affine(base, qtype.bits, axis, group_size, scale, shift)
        packed = library.pack(codes, qtype.bits)
        result = library.dequantize_affine(
            packed, qtype.bits, axis, group_size, list(base.shape), scale, shift
        )
        error = (base - result).abs().mean().item()
        logger.info("HqqOptimizer: mean absolute error %.6g after at most %d", error, self.iters)
