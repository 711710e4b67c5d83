# SPDX-License-Identifier: Apache-2.0
"""Small helpers about axes, dtypes and scales."""

import torch
from torch._subclasses.fake_tensor import FakeTensor

from .. import library
from ..qtype import qint8, qtype


def axis_to_dim(t: torch.Tensor, axis: int) -> list[int]:
    """All dimensions but the axis, over which a per-axis scale reduces."""
    kept = t.ndim - 1 if axis == -1 else axis
    return [dim for dim in range(t.ndim) if dim != kept]


def dtype_info(dtype: torch.dtype) -> torch.finfo | torch.iinfo:
    """`torch.finfo` or `torch.iinfo`, whichever goes with the dtype."""
    return torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)


def absmax_scale(base: torch.Tensor, qtype: qtype = qint8, axis: int | None = None) -> torch.Tensor:
    """The largest magnitude over the type's largest code, per tensor or per index of an axis."""
    return library.absmax_scale(base, qtype.name, axis)


def has_values(t: torch.Tensor) -> bool:
    """Whether a decision may be taken on the values: they are neither meta nor being traced."""
    return not (t.is_meta or isinstance(t, FakeTensor) or torch.compiler.is_compiling())
