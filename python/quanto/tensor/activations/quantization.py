# SPDX-License-Identifier: Apache-2.0
"""Quantizing an activation by a given scale."""

import torch

from ...qtype import qtype
from .qbytes import ActivationQBytesTensor


def quantize_activation(
    t: torch.Tensor, qtype: qtype, scale: torch.Tensor
) -> ActivationQBytesTensor:
    """Quantize an activation, per tensor; differentiable in `t`, to which the gradient passes.

    `scale` is 0-d, of t's dtype. Raises ValueError for another shape, or a type not of 8 bits.
    """
    if scale.ndim != 0:
        raise ValueError(
            f"quantize_activation: expected a 0-d scale, got shape {tuple(scale.shape)}"
        )
    return ActivationQBytesTensor.quantize(t, qtype, scale)
