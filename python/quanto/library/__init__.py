# SPDX-License-Identifier: Apache-2.0
"""The operators of `torch.ops.quanto`, with types and documentation.

Float tensors are float32, float16 or bfloat16. A quantized weight is plain tensors: `data` (int8 or
float8 in the weight's shape for 8 bits, packed uint8 for 4 and 2), `scale`, and for 4 and 2 bits a
`shift`, either a float one (`w = scale * q - shift`) or uint8 zero points
(`w = scale * (q - shift)`). Along axis 0 with groups the scales are `(rows, 1)`, along the last
axis `(1, rows)`; without groups they have the weight's rank and 1 everywhere but the axis.

All functions raise ValueError for a bad value, TypeError for a bad dtype and NotImplementedError
where a device has no implementation, each with one line: `op: expected X, got Y`. None of them has
a gradient; `quanto.function` has the differentiable ones.
"""

from .. import _library  # noqa: F401  (registers the operators)
from .. import composite as _composite  # noqa: F401  (registers what runs on other devices)
from .info import automatic_group_size, available_isas, isa, plan, plan_conv2d
from .layers import conv2d, embedding, linear, qbytes_mm, qlinear
from .quantization import (
    absmax_scale,
    dequantize_affine,
    dequantize_symmetric,
    hqq_scale,
    max_scale,
    moving_absmax_scale,
    pack,
    quantize_affine,
    quantize_symmetric,
    unpack,
)

__all__ = [
    "absmax_scale",
    "automatic_group_size",
    "available_isas",
    "conv2d",
    "dequantize_affine",
    "dequantize_symmetric",
    "embedding",
    "hqq_scale",
    "isa",
    "linear",
    "max_scale",
    "moving_absmax_scale",
    "pack",
    "plan",
    "plan_conv2d",
    "qbytes_mm",
    "qlinear",
    "quantize_affine",
    "quantize_symmetric",
    "unpack",
]
