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

from collections.abc import Callable
from typing import Any, NoReturn

import torch

from . import _library  # noqa: F401  (registers the operators)
from . import composite as _composite  # noqa: F401  (registers what runs on other devices)

_FLOAT = frozenset({torch.float32, torch.float16, torch.bfloat16})
_BYTES = frozenset({torch.int8, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz})
_UINT8 = frozenset({torch.uint8})
_SHIFT = _FLOAT | _UINT8
_Expected = tuple[tuple[torch.dtype | torch.Tensor | None, frozenset[torch.dtype]], ...]


def _fail(error: ValueError, expected: _Expected) -> NoReturn:
    """Raise `error` again, as a TypeError if one of the dtypes is what it complains about."""
    for value, dtypes in expected:
        dtype = value.dtype if isinstance(value, torch.Tensor) else value
        if dtype is not None and dtype not in dtypes:
            raise TypeError(str(error)) from None
    raise error


def _call(op: Callable[..., Any], *args: Any, expected: _Expected) -> Any:
    try:
        return op(*args)
    except ValueError as error:
        _fail(error, expected)


def _tensor(op: Callable[..., Any], *args: Any, expected: _Expected) -> torch.Tensor:
    result: torch.Tensor = _call(op, *args, expected=expected)
    return result


def _pair(
    op: Callable[..., Any], *args: Any, expected: _Expected
) -> tuple[torch.Tensor, torch.Tensor]:
    scale, shift = _call(op, *args, expected=expected)
    return scale, shift


def quantize_symmetric(
    base: torch.Tensor, dtype: torch.dtype, axis: int | None, scale: torch.Tensor
) -> torch.Tensor:
    """Codes `base / scale` of `dtype` (int8 or float8), in base's shape.

    Rounded half to even and clamped to the dtype's range; 0 under a zero scale. `scale` has base's
    dtype: 0-d for the whole tensor (`axis=None`), else one per index of the first or last axis.
    """
    op = torch.ops.quanto.quantize_symmetric.default
    expected = ((base, _FLOAT), (dtype, _BYTES), (scale, _FLOAT))
    return _tensor(op, base, dtype, axis, scale, expected=expected)


def quantize_affine(
    base: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    scale: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    """Unpacked uint8 codes of 2 or 4 bits, `(rows, group_size)` or `(group_size, rows)`.

    Float shift: `round((base + shift) / scale)`; zero points (uint8, or int8 from 0):
    `round(base / scale) + shift`. Without groups they have base's shape.
    """
    op = torch.ops.quanto.quantize_affine.default
    expected = ((base, _FLOAT), (scale, _FLOAT), (shift, _SHIFT | {torch.int8}))
    return _tensor(op, base, bits, axis, group_size, scale, shift, expected=expected)


def pack(self: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack uint8 codes `(rows, ...)` into `(ceil(rows * bits / 8), ...)` bytes.

    Codes of R packed rows apart share a byte, the first in its low bits.
    """
    return _tensor(torch.ops.quanto.pack.default, self, bits, expected=((self, _UINT8),))


def unpack(self: torch.Tensor, bits: int) -> torch.Tensor:
    """Undo `pack`: `(packed rows * 8 / bits, ...)`, rows of padding included."""
    return _tensor(torch.ops.quanto.unpack.default, self, bits, expected=((self, _UINT8),))


def dequantize_symmetric(data: torch.Tensor, axis: int | None, scale: torch.Tensor) -> torch.Tensor:
    """`scale * data` in scale's dtype and data's shape."""
    op = torch.ops.quanto.dequantize_symmetric.default
    return _tensor(op, data, axis, scale, expected=((data, _BYTES), (scale, _FLOAT)))


def dequantize_affine(
    data: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    size: list[int],
    scale: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    """The float weight of shape `size`, in scale's dtype, from packed codes."""
    op = torch.ops.quanto.dequantize_affine.default
    expected = ((data, _UINT8), (scale, _FLOAT), (shift, _SHIFT))
    return _tensor(op, data, bits, axis, group_size, size, scale, shift, expected=expected)


def absmax_scale(base: torch.Tensor, qtype: str, axis: int | None) -> torch.Tensor:
    """Largest `|base|` divided by the largest code of the named type, in base's dtype.

    0-d for `axis=None`, else with kept dimensions, per index of axis 0 or -1. Raises ValueError if
    base holds a value that is not finite.
    """
    op = torch.ops.quanto.absmax_scale.default
    return _tensor(op, base, qtype, axis, expected=((base, _FLOAT),))


def max_scale(
    base: torch.Tensor, bits: int, axis: int, group_size: int | None, zeropoint: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift of each group from its range: `(max - min) / (2^bits - 1)`, `-min`.

    With `zeropoint` the shift is the code of zero, uint8. Raises ValueError if base holds a value
    that is not finite.
    """
    op = torch.ops.quanto.max_scale.default
    return _pair(op, base, bits, axis, group_size, zeropoint, expected=((base, _FLOAT),))


def hqq_scale(
    base: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    zeropoint: bool = False,
    lp_norm: float = 0.7,
    beta: float = 10.0,
    kappa: float = 1.01,
    iters: int = 20,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`max_scale` with the shift refined by half-quadratic quantization (Badri and Shaji, 2023).

    Stops at the first iteration that does not lower the mean absolute error of the whole tensor.
    """
    op = torch.ops.quanto.hqq_scale.default
    options = (zeropoint, lp_norm, beta, kappa, iters)
    return _pair(op, base, bits, axis, group_size, *options, expected=((base, _FLOAT),))


def linear(
    input: torch.Tensor,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bias: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    out_features: int,
) -> torch.Tensor:
    """`input (..., K)` times a quantized weight `(out_features, K)` of axis 0, plus bias.

    8 bits: `data` is `(out_features, K)`, `scale` has 1 or out_features elements. 4 and 2 bits:
    packed `data`, `scale` and `shift` of `out_features * K / group_size` elements. `bias` has
    input's dtype, scale (and a float shift) any float one. The result has input's dtype.
    """
    op = torch.ops.quanto.linear.default
    expected = (
        (input, _FLOAT),
        (data, _BYTES if bits == 8 else _UINT8),
        (scale, _FLOAT),
        (shift, _SHIFT),
        (bias, frozenset({input.dtype})),
    )
    args = (input, data, scale, shift, bias, bits, group_size, out_features)
    return _tensor(op, *args, expected=expected)


def qbytes_mm(A: torch.Tensor, B: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """`A (..., K)` times `(scales * B)^T`, B `(N, K)` int8 or float8, scales of 1 or N elements.

    A is a float, int8 or float8 tensor; the result has A's dtype if that is a float one, else that
    of scales.
    """
    op = torch.ops.quanto.qbytes_mm.default
    expected = ((A, _FLOAT | _BYTES), (B, _BYTES), (scales, _FLOAT))
    return _tensor(op, A, B, scales, expected=expected)


def automatic_group_size(elements: int) -> int | None:
    """The group size of 2- and 4-bit weights when none is asked for.

    `elements` are those of one output: the first of 128, 96, 64 and 32 that divides them if they
    are more than 128, else None, one scale per output.
    """
    size: int | None = torch.ops.quanto.automatic_group_size(elements)
    return size


def plan(
    activation: torch.dtype,
    qtype: str,
    rows: int,
    in_features: int,
    out_features: int,
    group_size: int | None,
    shift: str,
) -> tuple[str, str]:
    """The kernel that `linear` would run on the CPU, and its instruction set.

    `shift` is "none" (8 bits), "float" or "integer".
    """
    op = torch.ops.quanto.plan.default
    args = (activation, qtype, rows, in_features, out_features, group_size, shift)
    name, isa = _call(op, *args, expected=((activation, _FLOAT),)).split()
    return name, isa


def isa() -> str:
    """The instruction set the CPU kernels use; QUANTO_FORCE_ISA names another."""
    name: str = torch.ops.quanto.isa()
    return name


def available_isas() -> list[str]:
    """The instruction sets this CPU can run, best first; the last is "ref"."""
    names: str = torch.ops.quanto.available_isas()
    return names.split(",")
