# SPDX-License-Identifier: Apache-2.0
"""Tensors of one code per byte."""

from collections.abc import Sequence

import torch

from .. import library
from ..qtype import qtype
from .qtensor import QTensor


class QBytesTensor(QTensor):
    """Symmetric 8-bit codes: `scale * data`.

    `data` has the tensor's own shape (int8 or float8); `scale` is 0-d, or has the rank of `data`
    with 1 everywhere but the axis.
    """

    inner_names = ("_data", "_scale")

    @staticmethod
    def __new__(
        cls,
        qtype: qtype,
        axis: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        requires_grad: bool = False,
    ) -> "QBytesTensor":
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
        axis: int | None,
        size: Sequence[int],
        stride: Sequence[int],
        data: torch.Tensor,
        scale: torch.Tensor,
        requires_grad: bool = False,
    ) -> None:
        super().__init__(qtype, axis)
        self._data = data
        self._scale = scale

    def _dequantize(self) -> torch.Tensor:
        values = library.dequantize_symmetric(self._data, self._axis, self._scale)
        return values.reshape(self.shape)
