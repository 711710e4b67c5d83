# SPDX-License-Identifier: Apache-2.0
"""Quantized modules."""

from .qconv2d import QConv2d
from .qembedding import QEmbedding
from .qlayernorm import QLayerNorm
from .qlinear import QLinear
from .qmodule import QModuleMixin, quantize_module, register_qmodule

__all__ = [
    "QConv2d",
    "QEmbedding",
    "QLayerNorm",
    "QLinear",
    "QModuleMixin",
    "quantize_module",
    "register_qmodule",
]
