# SPDX-License-Identifier: Apache-2.0
"""The quantized types, under the path that they have in optimum-quanto."""

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

__all__ = [
    "qfloat8",
    "qfloat8_e4m3fn",
    "qfloat8_e4m3fnuz",
    "qfloat8_e5m2",
    "qint2",
    "qint4",
    "qint8",
    "qtype",
    "qtypes",
]
