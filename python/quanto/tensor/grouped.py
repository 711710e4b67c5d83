# SPDX-License-Identifier: Apache-2.0
"""Cutting a weight into groups of equal size, each with its own scale and shift.

Along axis 0 the groups of one index of the axis follow one another as rows `(rows, group_size)`.
Along the last axis they are columns `(group_size, rows)`, the index of the axis major.
"""

import math
from collections.abc import Sequence

import torch


def _check(op: str, shape: Sequence[int], axis: int, group_size: int) -> None:
    if axis not in (0, -1):
        raise ValueError(f"{op}: expected axis 0 or -1, got {axis}")
    elements = math.prod(shape) // max(shape[axis], 1)
    if group_size < 1 or elements % group_size != 0:
        raise ValueError(f"{op}: expected group_size to divide {elements}, got {group_size}")


def grouped_shape(shape: Sequence[int], axis: int, group_size: int) -> tuple[int, int]:
    """The shape that `group` gives."""
    _check("grouped_shape", shape, axis, group_size)
    rows = math.prod(shape) // group_size
    return (rows, group_size) if axis == 0 else (group_size, rows)


def group(base: torch.Tensor, axis: int, group_size: int) -> torch.Tensor:
    """Cut into groups: `(rows, group_size)` for axis 0, `(group_size, rows)` for axis -1."""
    _check("group", base.shape, axis, group_size)
    if axis == 0:
        return base.reshape(-1, group_size)
    channels = base.shape[-1]
    groups = base.reshape(-1, group_size, channels)
    return groups.permute(1, 2, 0).reshape(group_size, -1)


def ungroup(grouped: torch.Tensor, axis: int, orig_shape: torch.Size) -> torch.Tensor:
    """Undo `group`."""
    if axis == 0 or grouped.shape == orig_shape:
        return grouped.reshape(orig_shape)
    group_size, channels = grouped.shape[0], orig_shape[-1]
    groups = grouped.reshape(group_size, channels, -1)
    return groups.permute(2, 0, 1).reshape(orig_shape)
