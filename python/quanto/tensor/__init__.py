"""Quantized tensors."""

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
    "quantize_weight",
    "ungroup",
]
