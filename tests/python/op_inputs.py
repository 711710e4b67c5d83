"""Quantized weights as plain tensors, and the arguments of one call of every operator."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from quanto import library, qtypes

_NAMES = {qtype.dtype: qtype.name for qtype in qtypes.values() if qtype.bits == 8}
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
ACTIVATIONS = (
    torch.int8,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
)
SCHEMES = [
    ("qint8", None, False),
    ("qfloat8_e4m3fn", None, False),
    ("qfloat8_e5m2", None, False),
    ("qfloat8_e4m3fnuz", None, False),
    ("qint4", None, False),
    ("qint4", 32, False),
    ("qint4", 32, True),
    ("qint2", 16, False),
    ("qint2", None, True),
]


def scheme_id(scheme: tuple[str, int | None, bool]) -> str:
    name, group_size, zeropoint = scheme
    group = "" if group_size is None else f"-g{group_size}"
    return f"{name}{group}{'-zero' if zeropoint else ''}"


@dataclass(frozen=True)
class Weight:
    """A quantized weight of shape `size` and axis 0."""

    data: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor | None
    bits: int
    group_size: int | None
    size: tuple[int, int]

    def linear_args(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> tuple[Any, ...]:
        weight = (self.data, self.scale, self.shift)
        return (x, *weight, bias, self.bits, self.group_size, self.size[0])

    def qlinear_args(
        self,
        x: torch.Tensor,
        input_scale: torch.Tensor | None,
        activation: torch.dtype,
        bias: torch.Tensor | None = None,
        output_scale: torch.Tensor | None = None,
    ) -> tuple[Any, ...]:
        _, *weight = self.linear_args(x, bias)
        return (x, input_scale, *weight, activation, output_scale)

    def embedding_args(self, indices: torch.Tensor) -> tuple[Any, ...]:
        weight = (self.data, self.scale, self.shift, self.bits, self.group_size)
        return (indices, *weight, *self.size)

    def _rows(self, t: torch.Tensor) -> torch.Tensor:
        """A column for each group row, spread over the weight."""
        columns = self.size[1] if self.group_size is None else self.group_size
        rows = self.size[0] * self.size[1] // max(columns, 1)
        return t.double().reshape(-1, 1).expand(rows, columns).reshape(self.size)

    def _terms(self) -> tuple[torch.Tensor, torch.Tensor]:
        scale = self._rows(self.scale)
        if self.shift is None:
            return scale * self.data.double().reshape(self.size), torch.zeros(
                self.size, dtype=torch.float64
            )
        columns = self.size[1] if self.group_size is None else self.group_size
        rows = self.size[0] * self.size[1] // max(columns, 1)
        codes = library.unpack(self.data.reshape(-1, columns), self.bits)[:rows]
        shift = self._rows(self.shift)
        if not self.shift.is_floating_point():
            shift = shift * scale
        return scale * codes.reshape(self.size).double(), shift

    def exact(self) -> torch.Tensor:
        """The weight in float64, without a rounding."""
        scaled, shift = self._terms()
        return scaled - shift

    def magnitude(self) -> torch.Tensor:
        """The sum of the magnitudes of the terms that make the weight."""
        scaled, shift = self._terms()
        return scaled.abs() + shift.abs()


def random(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def quantized(
    scheme: tuple[str, int | None, bool],
    size: tuple[int, int] = (24, 96),
    dtype: torch.dtype = torch.float32,
) -> Weight:
    name, group_size, zeropoint = scheme
    base, qtype = random(size, dtype, seed=1), qtypes[name]
    if qtype.bits == 8:
        axis = None if size[0] == 1 else 0  # one index is quantized per tensor
        scale = library.absmax_scale(base, name, axis)
        data = library.quantize_symmetric(base, qtype.dtype, axis, scale)
        return Weight(data, scale, None, 8, None, size)
    scale, shift = library.max_scale(base, qtype.bits, 0, group_size, zeropoint)
    codes = library.quantize_affine(base, qtype.bits, 0, group_size, scale, shift)
    packed = library.pack(codes, qtype.bits)
    return Weight(packed, scale, shift, qtype.bits, group_size, size)


@dataclass(frozen=True)
class Convolution:
    """A convolution whose quantized weight has the shape `size`."""

    weight: Weight
    size: tuple[int, int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def geometry(self) -> tuple[list[int], list[int], list[int], int]:
        return list(self.stride), list(self.padding), list(self.dilation), self.groups

    def args(
        self,
        x: torch.Tensor,
        bias: torch.Tensor | None = None,
        activation: torch.dtype | None = None,
        input_scale: torch.Tensor | None = None,
        output_scale: torch.Tensor | None = None,
    ) -> tuple[Any, ...]:
        w = self.weight
        tensors = (w.data, w.scale, w.shift, bias)
        options = (w.bits, w.group_size, list(self.size), *self.geometry)
        return (x, input_scale, *tensors, *options, activation, output_scale)

    def exact(self) -> torch.Tensor:
        return self.weight.exact().reshape(self.size)

    def magnitude(self) -> torch.Tensor:
        return self.weight.magnitude().reshape(self.size)


def convolution(
    scheme: tuple[str, int | None, bool],
    size: tuple[int, int, int, int],
    dtype: torch.dtype = torch.float32,
    **geometry: Any,
) -> Convolution:
    weight = quantized(scheme, (size[0], math.prod(size[1:])), dtype)
    if weight.bits == 8:
        scale = weight.scale.reshape(-1, 1, 1, 1)
        weight = replace(weight, data=weight.data.reshape(size), scale=scale)
    return Convolution(weight, size, **geometry)


def codes_of(
    x: torch.Tensor, scale: torch.Tensor | None, activation: torch.dtype, rows: int | None = None
) -> torch.Tensor:
    """Dequantized codes in float64, with a scale for each of the first `rows` where there is none.

    By default those of a matrix, or of a stack of them.
    """
    if scale is not None:
        scale = scale.to(x.dtype)
        codes = library.quantize_symmetric(x, activation, None, scale)
        return codes.double() * scale.double()
    rows = x.numel() // x.shape[-1] if rows is None else rows
    base, name = x.float().reshape(rows, -1), _NAMES[activation]
    scale = torch.stack([library.absmax_scale(row, name, None) for row in base]).reshape(-1, 1)
    codes = [
        library.quantize_symmetric(row, activation, None, one)
        for row, one in zip(base, scale.flatten(), strict=True)
    ]
    values = torch.stack([row.double() for row in codes]) * scale.double()
    return values.reshape(x.shape)


def call_of_every_op(dtype: torch.dtype = torch.float32) -> dict[str, list[tuple[Any, ...]]]:
    """Arguments by operator: every schema with tensors, with and without its optional ones."""
    base = random((8, 32), dtype)
    bytes_, packed = quantized(("qint8", None, False), (8, 32), dtype), {}
    for zeropoint in (False, True):
        packed[zeropoint] = quantized(("qint4", 16, zeropoint), (8, 32), dtype)
    whole = quantized(("qint2", None, False), (8, 32), dtype)
    x, bias = random((3, 32), dtype, seed=2), random((8,), dtype, seed=3)
    codes = library.unpack(packed[False].data, 4)
    step = torch.tensor(0.02, dtype=dtype)
    x_codes = library.quantize_symmetric(x, torch.int8, None, step)
    image = random((2, 8, 5, 6), dtype, seed=4)
    image_codes = library.quantize_symmetric(image, torch.int8, None, step)
    conv = convolution(("qint8", None, False), (8, 8, 3, 3), dtype, padding=(1, 0))
    grouped = convolution(("qint4", 12, False), (8, 4, 3, 2), dtype, stride=(2, 1), groups=2)
    depthwise = convolution(("qint2", None, True), (8, 1, 3, 3), dtype, groups=8)
    last = library.absmax_scale(base, "qfloat8", -1)
    affine = [(w.scale, w.shift) for w in packed.values()]
    dense = [(w.data, 4, 0, 16, [8, 32], w.scale, w.shift) for w in packed.values()]
    return {
        "quantize_symmetric": [
            (base, torch.int8, 0, bytes_.scale),
            (base, torch.float8_e4m3fn, -1, last),
            (base, torch.float8_e5m2, None, library.absmax_scale(base, "qfloat8_e5m2", None)),
        ],
        "quantize_affine": [(base, 4, 0, 16, scale, shift) for scale, shift in affine]
        + [(base, 2, 0, None, whole.scale, whole.shift)],
        "unpack": [(packed[False].data, 4), (whole.data, 2)],
        "pack": [(codes, 4), (codes[:7], 2)],
        "qbytes_mm": [(x, bytes_.data, bytes_.scale), (bytes_.data, bytes_.data, bytes_.scale)],
        "dequantize_symmetric": [(bytes_.data, 0, bytes_.scale)],
        "dequantize_affine": [*dense, (whole.data, 2, 0, None, [8, 32], whole.scale, whole.shift)],
        "absmax_scale": [(base, "qint8", None), (base, "qfloat8", 0), (base, "qint4", -1)],
        "max_scale": [(base, 4, 0, 16, False), (base, 2, -1, None, True)],
        "hqq_scale": [(base, 4, 0, 16, False, 0.7, 10.0, 1.01, 20)],
        "linear": [
            bytes_.linear_args(x),
            bytes_.linear_args(x, bias),
            (x, bytes_.data, bytes_.scale),
            packed[False].linear_args(x, bias),
            packed[True].linear_args(x),
            whole.linear_args(x),
        ],
        "qlinear": [
            bytes_.qlinear_args(x, step, torch.int8),
            bytes_.qlinear_args(x, None, torch.int8, bias),
            bytes_.qlinear_args(x_codes, step, torch.int8, bias),
            packed[True].qlinear_args(x, step, torch.float8_e4m3fn, bias),
            packed[False].qlinear_args(x, None, torch.int8, None, step),
        ],
        "conv2d": [
            conv.args(image, bias),
            conv.args(image[0], bias, torch.int8),
            grouped.args(image, None, torch.float8_e5m2, step, step),
            grouped.args(image_codes, None, torch.int8, step),
            depthwise.args(image, bias),
        ],
        "embedding": [
            bytes_.embedding_args(torch.tensor([[1, 7], [0, 7]])),
            packed[True].embedding_args(torch.tensor([3, 3], dtype=torch.int32)),
            whole.embedding_args(torch.tensor(5)),
        ],
        "moving_absmax_scale": [
            (torch.tensor(1.0, dtype=dtype), base, "qint8", 0.9),
            (torch.tensor(0.5), base, "qfloat8_e4m3fn", 0.5),
            (torch.tensor(0.3, dtype=dtype), base[:0], "qint8", 0.9),
        ],
    }


def every_call(dtype: torch.dtype = torch.float32) -> list[Any]:
    """`call_of_every_op` as pytest parameters `op, args`."""
    import pytest

    return [
        pytest.param(op, args, id=f"{op}-{i}")
        for op, calls in call_of_every_op(dtype).items()
        for i, args in enumerate(calls)
    ]
