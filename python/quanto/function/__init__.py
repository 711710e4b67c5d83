# SPDX-License-Identifier: Apache-2.0
"""Operators with a gradient.

The raw operators have none; these faces cost an autograd node, so callers take them only where a
gradient is needed. Quantizations have a straight-through gradient: the weight and the input of a
layer receive what they would in a float layer that computes with their dequantized values.
"""

from ._conv2d import conv2d
from ._embedding import embedding
from ._linear import linear
from ._qlinear import qlinear

__all__ = ["conv2d", "embedding", "linear", "qlinear"]
