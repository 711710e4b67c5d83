# SPDX-License-Identifier: Apache-2.0
"""Quantizing a weight by given scales."""

import torch

from ...qtype import qtype
from .qbits import WeightQBitsTensor
from .qbytes import WeightQBytesTensor


def quantize_weight(
    t: torch.Tensor,
    qtype: qtype,
    axis: int,
    scale: torch.Tensor,
    shift: torch.Tensor | None = None,
    group_size: int | None = None,
    activation_qtype: qtype | None = None,
    optimized: bool = True,
) -> WeightQBytesTensor | WeightQBitsTensor:
    """Quantize a weight; differentiable in `t`, to which the gradient passes straight.

    8 bits take a scale per index of the axis; 4 and 2 bits a scale and a shift per index or group.
    `optimized` has no effect: kernels run on the one layout there is.
    """
    if axis not in (0, -1):
        raise ValueError(f"quantize_weight: expected axis 0 or -1, got {axis}")
    if qtype.bits == 8:
        _check_bytes(qtype, shift, group_size)
        if t.shape[axis] == 1:  # one scale for all
            return WeightQBytesTensor.quantize(t, qtype, None, scale.reshape(()), activation_qtype)
        return WeightQBytesTensor.quantize(t, qtype, axis, scale, activation_qtype)
    if shift is None:
        raise ValueError(f"quantize_weight: expected a shift for {qtype.name}, got None")
    return WeightQBitsTensor.quantize(t, qtype, axis, group_size, scale, shift)


def _check_bytes(qtype: qtype, shift: torch.Tensor | None, group_size: int | None) -> None:
    if shift is not None:
        raise ValueError(f"quantize_weight: expected no shift for {qtype.name}, got one")
    if group_size is not None:
        raise ValueError(
            f"quantize_weight: expected no group_size for {qtype.name}, got {group_size}"
        )
