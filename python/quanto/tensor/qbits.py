# SPDX-License-Identifier: Apache-2.0
"""Tensors of packed codes in groups."""

import math
from collections.abc import Sequence

import torch

from .. import library
from ..qtype import qtype
from .grouped import grouped_shape
from .packed import PackedTensor
from .qtensor import QTensor
from .wrapper import contiguous_stride


class QBitsTensor(QTensor):
    """Affine 4- or 2-bit codes q: `scale * q - shift`; `scale * (q - shift)` with integer shifts.

    `data` is a PackedTensor of the grouped shape (`grouped_shape`), or of the tensor's own shape
    without groups; `scale` and `shift` have one value per group: `(rows, 1)` or `(1, rows)`.
    """

    inner_names = ("_data", "_scale", "_shift")
    _data: PackedTensor
    _shift: torch.Tensor
    _axis: int

    @staticmethod
    def __new__(
        cls,
        qtype: qtype,
        axis: int,
        group_size: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        requires_grad: bool = False,
    ) -> "QBitsTensor":
        """A tensor of that geometry without storage; see the class."""
        return torch.Tensor._make_wrapper_subclass(
            cls,
            tuple(size),
            strides=tuple(stride),
            dtype=scale.dtype,
            device=data.device,
            requires_grad=requires_grad,
        )

    def __init__(
        self,
        qtype: qtype,
        axis: int,
        group_size: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        requires_grad: bool = False,
    ) -> None:
        super().__init__(qtype, axis)
        self._group_size = group_size
        self._data = data if isinstance(data, PackedTensor) else PackedTensor.pack(data, qtype.bits)
        self._scale = scale
        self._shift = shift

    @property
    def group_size(self) -> int | None:
        """Elements that share a scale and a shift; None: all of one index of the axis."""
        return self._group_size

    def _dequantize(self) -> torch.Tensor:
        # Along axis 0 groups are rows of the code matrix, so that any view of the tensor will do.
        as_rows = self._axis == 0 or self._group_size is None
        values = library.dequantize_affine(
            self._data._data,
            self._qtype.bits,
            self._axis,
            None if as_rows else self._group_size,
            list(self._data.shape if as_rows else self.shape),
            self._scale,
            self._shift,
        )
        return values.reshape(self.shape)


def code_geometry(
    size: Sequence[int], axis: int, group_size: int | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of the code matrix of a tensor of that size."""
    shape = tuple(size) if group_size is None else grouped_shape(size, axis, group_size)
    return shape, contiguous_stride(shape)


def scale_shape(size: Sequence[int], axis: int, group_size: int | None) -> tuple[int, ...]:
    """Shape of the scales and shifts of a tensor of that size."""
    if group_size is not None:
        rows = math.prod(size) // group_size
        return (rows, 1) if axis == 0 else (1, rows)
    kept = axis % len(size)
    return tuple(length if dim == kept else 1 for dim, length in enumerate(size))
