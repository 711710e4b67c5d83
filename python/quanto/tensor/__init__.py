# SPDX-License-Identifier: Apache-2.0
"""Quantized tensors."""

from ..qtype import (
    qfloat8,
    qfloat8_e4m3fn,
    qfloat8_e4m3fnuz,
    qfloat8_e5m2,
    qint2,
    qint4,
    qint8,
    qtype,
    qtypes,
)
from . import float_dequantize as _float_dequantize  # registers a derivative  # noqa: F401
from .activations import ActivationQBytesTensor, quantize_activation
from .activations import dispatch as _activation_dispatch  # registers the handlers  # noqa: F401
from .core import absmax_scale, axis_to_dim, dtype_info
from .fallback import qfallback
from .grouped import group, grouped_shape, ungroup
from .optimizers import (
    AbsmaxOptimizer,
    AffineOptimizer,
    HqqOptimizer,
    MaxOptimizer,
    Optimizer,
    SymmetricOptimizer,
)
from .packed import PackedTensor
from .qbits import QBitsTensor
from .qbytes import QBytesTensor
from .qtensor import QTensor
from .weights import WeightQBitsTensor, WeightQBytesTensor, quantize_weight
from .weights import dispatch as _dispatch  # registers the handlers  # noqa: F401

__all__ = [
    "AbsmaxOptimizer",
    "ActivationQBytesTensor",
    "AffineOptimizer",
    "HqqOptimizer",
    "MaxOptimizer",
    "Optimizer",
    "PackedTensor",
    "QBitsTensor",
    "QBytesTensor",
    "QTensor",
    "SymmetricOptimizer",
    "WeightQBitsTensor",
    "WeightQBytesTensor",
    "absmax_scale",
    "axis_to_dim",
    "dtype_info",
    "group",
    "grouped_shape",
    "qfallback",
    "qfloat8",
    "qfloat8_e4m3fn",
    "qfloat8_e4m3fnuz",
    "qfloat8_e5m2",
    "qint2",
    "qint4",
    "qint8",
    "qtype",
    "qtypes",
    "quantize_activation",
    "quantize_weight",
    "ungroup",
]
