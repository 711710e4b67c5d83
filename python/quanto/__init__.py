# SPDX-License-Identifier: Apache-2.0
"""Quantization for PyTorch, with the arithmetic in C++ (`torch.ops.quanto`)."""

from typing import TYPE_CHECKING, Any

from . import (
    _library,  # noqa: F401  (first: registers the operators)
    composite,
    function,
    library,
    models,
    safetensors,
)
from .calibrate import Calibration
from .explain import explain
from .extensions import get_extension, is_extension_available
from .integrations import register_integrations
from .mapping import quantization_map
from .models import is_diffusers_available, is_transformers_available
from .nn import (
    QConv2d,
    QEmbedding,
    QLayerNorm,
    QLinear,
    QModuleMixin,
    quantize_module,
    register_qmodule,
)
from .qtype import (
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
from .quantize import freeze, quantize
from .requantize import requantize
from .safetensors import safe_load, safe_save
from .saving import load, save_pretrained
from .tensor import (
    AbsmaxOptimizer,
    ActivationQBytesTensor,
    AffineOptimizer,
    HqqOptimizer,
    MaxOptimizer,
    Optimizer,
    PackedTensor,
    QBitsTensor,
    QBytesTensor,
    QTensor,
    SymmetricOptimizer,
    WeightQBitsTensor,
    WeightQBytesTensor,
    absmax_scale,
    axis_to_dim,
    dtype_info,
    group,
    grouped_shape,
    qfallback,
    quantize_activation,
    quantize_weight,
    ungroup,
)
from .version import __version__

if TYPE_CHECKING:
    from .models.diffusers_models import QuantizedDiffusersModel, QuantizedPixArtTransformer2DModel
    from .models.transformers_models import QuantizedModelForCausalLM, QuantizedTransformersModel

__all__ = [
    "AbsmaxOptimizer",
    "ActivationQBytesTensor",
    "AffineOptimizer",
    "Calibration",
    "HqqOptimizer",
    "MaxOptimizer",
    "Optimizer",
    "PackedTensor",
    "QBitsTensor",
    "QBytesTensor",
    "QConv2d",
    "QEmbedding",
    "QLayerNorm",
    "QLinear",
    "QModuleMixin",
    "QTensor",
    "QuantizedDiffusersModel",
    "QuantizedModelForCausalLM",
    "QuantizedPixArtTransformer2DModel",
    "QuantizedTransformersModel",
    "SymmetricOptimizer",
    "WeightQBitsTensor",
    "WeightQBytesTensor",
    "__version__",
    "absmax_scale",
    "axis_to_dim",
    "composite",
    "dtype_info",
    "explain",
    "freeze",
    "function",
    "get_extension",
    "group",
    "grouped_shape",
    "is_diffusers_available",
    "is_extension_available",
    "is_transformers_available",
    "library",
    "load",
    "models",
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
    "quantization_map",
    "quantize",
    "quantize_activation",
    "quantize_module",
    "quantize_weight",
    "register_qmodule",
    "requantize",
    "safe_load",
    "safe_save",
    "safetensors",
    "save_pretrained",
    "ungroup",
]

register_integrations()


def __getattr__(name: str) -> Any:
    """The wrappers of `quanto.models`, made when they are first asked for."""
    if name.startswith("Quantized") and name in models.__all__:
        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
