# SPDX-License-Identifier: Apache-2.0
"""Quantized activations."""

from .qbytes import ActivationQBytesTensor
from .quantization import quantize_activation

__all__ = ["ActivationQBytesTensor", "quantize_activation"]
