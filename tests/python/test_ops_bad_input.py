"""What the operators refuse: one line that names the op, what was expected and what was got."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from op_inputs import FLOATS, convolution, quantized, random

from quanto import library

BYTES = quantized(("qint8", None, False), (8, 32))
NIBBLES = quantized(("qint4", 16, False), (8, 32))
BASE, X = random((8, 32)), random((3, 32))
COLUMN = torch.ones(8, 1)
PACKED = (NIBBLES.data, NIBBLES.scale, NIBBLES.shift)

SCALAR, INDEX = torch.tensor(0.1), torch.tensor([1, 2])
CODES = torch.ones(3, 32, dtype=torch.int8)
CONV, IMAGE = convolution(("qint8", None, False), (8, 4, 3, 3)), random((2, 4, 6, 6))


def column(rows: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(rows, 1, dtype=dtype)


PLANNED = (torch.float32, "qint8", 64)
VALUES: list[tuple[str, tuple[Any, ...], str]] = [
    ("quantize_symmetric", (BASE, torch.int8, 1, column(8)), r"shape \(1, 32\), got \(8, 1\)"),
    ("quantize_symmetric", (BASE, torch.int8, 0, torch.ones(8)), r"shape \(8, 1\), got \(8,\)"),
    ("quantize_symmetric", (BASE, torch.int8, 0, BASE), r"shape \(8, 1\), got \(8, 32\)"),
    ("quantize_symmetric", (BASE, torch.int8, None, torch.ones(1)), r"shape \(\), got \(1,\)"),
    ("quantize_symmetric", (BASE, torch.int8, 2, COLUMN), "axis 0 .* or -1 .*, got 2"),
    ("quantize_symmetric", (torch.ones(8), torch.int8, 0, torch.ones(8)), "2 dimensions .*got 1"),
    (
        "quantize_symmetric",
        (BASE[:1], torch.int8, 0, column(1)),
        "more than one index along axis 0",
    ),
    ("quantize_affine", (BASE, 3, 0, None, COLUMN, COLUMN), "2 or 4 bits, got 3"),
    ("quantize_affine", (BASE, 4, 1, None, COLUMN, COLUMN), "axis 0 .* or -1 .*, got 1"),
    ("quantize_affine", (BASE, 4, 0, 12, COLUMN, COLUMN), "group_size to divide 32, got 12"),
    ("quantize_affine", (BASE, 4, 0, 0, COLUMN, COLUMN), "group_size to divide 32, got 0"),
    ("quantize_affine", (BASE, 4, 0, -16, COLUMN, COLUMN), "group_size to divide 32, got -16"),
    ("quantize_affine", (BASE, 4, 0, 16, COLUMN, column(16)), r"scale of shape \(16, 1\), got"),
    ("quantize_affine", (BASE, 4, 0, 16, column(16), COLUMN), r"shift of shape \(16, 1\), got"),
    ("quantize_affine", (BASE, 4, 0, None, COLUMN, -column(8, torch.int8)), "0 or more, got -1"),
    ("unpack", (NIBBLES.data, 3), "2 or 4 bits, got 3"),
    ("unpack", (torch.tensor(1, dtype=torch.uint8), 4), "1 dimension, got 0"),
    ("pack", (NIBBLES.data, 8), "2 or 4 bits, got 8"),
    ("qbytes_mm", (X[:, :9], BYTES.data, BYTES.scale), r"data of shape \(8, 9\), got \(8, 32\)"),
    ("qbytes_mm", (X, BYTES.data, column(7)), "scale of 1 or 8 elements, got 7"),
    ("qbytes_mm", (X, BYTES.data[0], BYTES.scale), "B of 2 dimensions, got 1"),
    ("dequantize_symmetric", (BYTES.data, 0, column(7)), r"shape \(8, 1\), got \(7, 1\)"),
    ("dequantize_affine", (PACKED[0], 4, 0, 16, [8, 48], *PACKED[1:]), r"data of shape \(12, 16\)"),
    ("dequantize_affine", (PACKED[0], 4, 0, 12, [8, 32], *PACKED[1:]), "group_size to divide 32"),
    (
        "dequantize_affine",
        (PACKED[0], 4, 0, 16, [8, 32], COLUMN, COLUMN),
        r"scale of shape \(16, 1",
    ),
    ("absmax_scale", (BASE, "int8", None), "the name of a qtype, got 'int8'"),
    ("absmax_scale", (BASE, "qint8", 1), "axis None, 0 .* or -1 .*, got 1"),
    ("absmax_scale", (torch.ones(8), "qint8", 0), "2 dimensions .* got 1"),
    ("max_scale", (BASE, 8, 0, None, False), "2 or 4 bits, got 8"),
    ("max_scale", (BASE, 4, 0, 33, False), "group_size to divide 32, got 33"),
    ("max_scale", (torch.tensor(1.0), 4, 0, None, False), "1 dimension, got 0"),
    ("hqq_scale", (BASE, 4, 0, 16, False, 0.0, 10.0, 1.01, 20), "lp_norm above 0"),
    ("hqq_scale", (BASE, 4, 0, 16, False, 0.7, 0.0, 1.01, 20), "beta and kappa above 0"),
    ("hqq_scale", (BASE, 4, 0, 16, False, 0.7, 10.0, 1.01, -1), "iters of 0 or more, got -1"),
    ("linear", BYTES.linear_args(X[:, :9]), r"data of shape \(8, 9\), got \(8, 32\)"),
    ("linear", BYTES.linear_args(torch.tensor(1.0)), "input of at least 1 dimension, got 0"),
    ("linear", BYTES.linear_args(X, torch.ones(7)), "bias of 8 elements, got 7"),
    ("linear", (X, BYTES.data, BYTES.scale, None, None, 8, 16, 8), "no group_size with 8 bits"),
    ("linear", (X, BYTES.data, BYTES.scale, COLUMN, None, 8, None, 8), "no shift with 8 bits"),
    ("linear", (X, BYTES.data, column(7), None, None, 8, None, 8), "1 or 8 elements, got 7"),
    ("linear", (X, *PACKED[:2], None, None, 4, 16, 8), "a shift with 4 bits, got none"),
    ("linear", (X, *PACKED, None, 4, 12, 8), "group_size to divide 32, got 12"),
    ("linear", (X, *PACKED, None, 4, 16, 9), "data of 144 bytes, got 128"),
    ("linear", (X, PACKED[0], COLUMN, COLUMN, None, 4, 16, 8), "of 16 elements, got 8 and 8"),
    ("linear", (X, *PACKED, None, 5, 16, 8), "8, 4 or 2 bits, got 5"),
    ("linear", (X, *PACKED, None, 4, 16, None), "out_features with 4 bits, got none"),
    ("linear", BYTES.linear_args(X.to("meta")), "all tensors on one device, got "),
    (
        "qlinear",
        BYTES.qlinear_args(CODES, None, torch.int8),
        "an input_scale with .*codes, got none",
    ),
    ("qlinear", BYTES.qlinear_args(X, torch.ones(1), torch.int8), r"shape \(\), got \(1,\)"),
    (
        "qlinear",
        BYTES.qlinear_args(X, None, torch.int8, None, torch.ones(1)),
        r"output_scale of shape \(\), got \(1,\)",
    ),
    ("qlinear", BYTES.qlinear_args(X[:, :9], None, torch.int8), r"data of shape \(8, 9\), got"),
    (
        "qlinear",
        BYTES.qlinear_args(X, None, torch.int8, torch.ones(7)),
        "bias of 8 elements, got 7",
    ),
    ("qlinear", BYTES.qlinear_args(X.to("meta"), None, torch.int8), "tensors on one device, got"),
    ("conv2d", CONV.args(IMAGE[0, 0]), "an input of 3 or 4 dimensions, got 2"),
    ("conv2d", CONV.args(IMAGE[:, :3]), r"an input of 4 channels, got shape \(2, 3, 6, 6\)"),
    ("conv2d", CONV.args(IMAGE[..., :2]), r"at least as large as the kernel of \(3, 3\)"),
    ("conv2d", CONV.args(IMAGE, torch.ones(7)), "bias of 8 elements, got 7"),
    ("conv2d", CONV.args(IMAGE, None, None, SCALAR), "no scales of activations without an"),
    ("conv2d", CONV.args(IMAGE, None, None, None, SCALAR), "no scales of activations without an"),
    ("conv2d", CONV.args(IMAGE, None, torch.int8, torch.ones(1)), r"input_scale of shape \(\)"),
    ("conv2d", replace(CONV, stride=(1,)).args(IMAGE), r"stride of 2 .* least 1, got \(1,\)"),
    ("conv2d", replace(CONV, stride=(0, 1)).args(IMAGE), r"stride of 2 .* least 1, got \(0, 1\)"),
    ("conv2d", replace(CONV, padding=(0, -1)).args(IMAGE), r"padding of 2 .* least 0, got \(0, -1"),
    ("conv2d", replace(CONV, dilation=(0, 1)).args(IMAGE), "dilation of 2 .* least 1, got"),
    ("conv2d", replace(CONV, groups=3).args(IMAGE), "groups to divide 8 outputs, got 3"),
    ("conv2d", replace(CONV, groups=0).args(IMAGE), "groups to divide 8 outputs, got 0"),
    ("conv2d", replace(CONV, size=(8, 4, 3)).args(IMAGE), r"size of 4 numbers .*got \(8, 4, 3\)"),
    ("conv2d", replace(CONV, size=(8, 4, 3, 2)).args(IMAGE), r"data of shape \(8, 4, 3, 2\), got"),
    ("embedding", (INDEX, BYTES.data, column(7), None, 8, None, 8, 32), "1 or 8 elements, got 7"),
    ("embedding", (INDEX, BYTES.data, COLUMN, None, 8, None, 8, 31), r"data of shape \(8, 31\)"),
    ("embedding", (INDEX, *PACKED, 4, 12, 8, 32), "group_size to divide 32, got 12"),
    ("moving_absmax_scale", (SCALAR, BASE, "int8", 0.9), "the name of a qtype, got 'int8'"),
    ("moving_absmax_scale", (SCALAR, BASE, "qint8", 1.5), r"momentum in \[0, 1\], got 1.5"),
    ("moving_absmax_scale", (COLUMN, BASE, "qint8", 0.9), r"shape \(\), got \(8, 1\)"),
    ("plan", (torch.float32, "int8", 1, 8, 8, None, "none"), "the name of a qtype, got 'int8'"),
    ("plan", (torch.float32, "qint4", 1, 32, 8, 12, "float"), "group_size to divide 32, got 12"),
    ("plan", (torch.float32, "qint4", 1, 32, 8, 16, "zero"), "none, float or integer, got 'zero'"),
    ("plan", (torch.float32, "qint4", 1, 32, 8, 16, "none"), "shift none with 8 bits only"),
    ("plan_conv2d", (*PLANNED, (8, 4, 3), (1, 1), 1, None, "none"), "size of 4 numbers"),
    ("plan_conv2d", (*PLANNED, (8, 4, 3, 3), (1, 0), 1, None, "none"), "stride of 2 .* least 1"),
    ("plan_conv2d", (*PLANNED, (8, 4, 3, 3), (1, 1), 3, None, "none"), "groups to divide 8"),
    ("plan_conv2d", (*PLANNED, (8, 4, 3, 3), (1, 1), 1, 5, "none"), "group_size to divide 36"),
]


@pytest.mark.parametrize(
    ("op", "args", "message"), VALUES, ids=lambda v: v if type(v) is str else ""
)
def test_values(op: str, args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{op}: expected .*{message}") as caught:
        getattr(library, op)(*args)
    assert "\n" not in str(caught.value)


WRONG = random((8, 32), torch.float64)
DTYPES: list[tuple[str, tuple[Any, ...], str]] = [
    ("quantize_symmetric", (WRONG, torch.int8, 0, COLUMN), "base of float32, .*got float64"),
    ("quantize_symmetric", (BASE, torch.float16, 0, COLUMN), "dtype int8, .*got float16"),
    ("quantize_symmetric", (BASE, torch.int8, 0, COLUMN.double()), "float32, got float64"),
    ("quantize_affine", (BASE, 4, 0, None, COLUMN, COLUMN.long()), "shift of .*got int64"),
    ("pack", (BYTES.data, 4), "self of uint8, got int8"),
    ("unpack", (BYTES.data, 4), "self of uint8, got int8"),
    ("qbytes_mm", (X, BASE, COLUMN), "B of int8, .* got float32"),
    ("qbytes_mm", (X.long(), BYTES.data, COLUMN), "A of a float, int8 or float8 type, got int64"),
    ("dequantize_symmetric", (BASE, 0, COLUMN), "data of int8, .*got float32"),
    ("dequantize_symmetric", (BYTES.data, 0, COLUMN.int()), "scale of float32, .*got int32"),
    ("absmax_scale", (BYTES.data, "qint8", 0), "base of float32, .*got int8"),
    ("max_scale", (WRONG, 4, 0, None, False), "base of float32, .*got float64"),
    ("linear", BYTES.linear_args(X.double()), "input of float32, .*got float64"),
    ("linear", BYTES.linear_args(X, torch.ones(8).half()), "bias of float32, got float16"),
    ("linear", (X, NIBBLES.data, COLUMN, None, None, 8, None, 8), "data of int8, .*got uint8"),
    ("linear", (X, *PACKED[:2], PACKED[2].bool(), None, 4, 16, 8), "shift of .*got bool"),
    ("qlinear", BYTES.qlinear_args(X, None, torch.float16), "activation int8, .*got float16"),
    ("qlinear", BYTES.qlinear_args(X.double(), None, torch.int8), "input of .*got float64"),
    ("qlinear", BYTES.qlinear_args(CODES, None, torch.float8_e5m2), "input of .*got int8"),
    ("qlinear", BYTES.qlinear_args(X, SCALAR.int(), torch.int8), "input_scale of .*got int32"),
    (
        "qlinear",
        BYTES.qlinear_args(X, None, torch.int8, None, SCALAR.long()),
        "output_scale of .*got int64",
    ),
    (
        "qlinear",
        BYTES.qlinear_args(X.half(), None, torch.int8, COLUMN[:, 0]),
        "bias of float16, got float32",
    ),
    ("conv2d", CONV.args(IMAGE.to(torch.int8)), "input of float32, .*got int8"),
    ("conv2d", CONV.args(IMAGE, None, torch.uint8), "activation int8, .*got uint8"),
    ("conv2d", CONV.args(IMAGE, torch.ones(8).half()), "bias of float32, got float16"),
    ("embedding", BYTES.embedding_args(INDEX.float()), "indices of int64 or int32, got float32"),
    ("moving_absmax_scale", (SCALAR.double(), BASE, "qint8", 0.9), "scale of .*got float64"),
    ("moving_absmax_scale", (SCALAR, BASE.int(), "qint8", 0.9), "base of .*got int32"),
    ("plan", (torch.uint8, "qint4", 1, 32, 8, 16, "float"), "activation float32, .*got uint8"),
]


@pytest.mark.parametrize(
    ("op", "args", "message"), DTYPES, ids=lambda v: v if type(v) is str else ""
)
def test_dtypes(op: str, args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=rf"^{op}: expected .*{message}") as caught:
        getattr(library, op)(*args)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("place", [0, 77, 255])
def test_weights_that_are_not_finite(bad: float, dtype: torch.dtype, place: int) -> None:
    base = random((8, 32), dtype)
    base.view(-1)[place] = bad
    for op, args in (
        ("absmax_scale", ("qint8", None)),
        ("absmax_scale", ("qint8", 0)),
        ("absmax_scale", ("qint8", -1)),
        ("max_scale", (4, 0, 16)),
        ("max_scale", (2, -1, None)),
        ("hqq_scale", (4, 0, 16)),
    ):
        with pytest.raises(ValueError, match=rf"^{op}: expected finite values, got -?(nan|inf)"):
            getattr(library, op)(base, *args)
        with pytest.raises(ValueError, match=r"^moving_absmax_scale: expected finite values, got"):
            library.moving_absmax_scale(SCALAR, base, "qint8", 0.9)


def test_empty_tensors() -> None:
    for shape in ((0, 32), (8, 0)):
        base = torch.empty(shape)
        for axis in (None, 0, -1):
            scale = library.absmax_scale(base, "qint8", axis)
            if axis is None or shape[axis] != 1:
                data = library.quantize_symmetric(base, torch.int8, axis, scale)
                assert library.dequantize_symmetric(data, axis, scale).shape == shape
        for axis in (0, -1):
            for search in (library.max_scale, library.hqq_scale):
                scale, shift = search(base, 4, axis, None)
                codes = library.quantize_affine(base, 4, axis, None, scale, shift)
                packed = library.pack(codes, 4)
                args = (packed, 4, axis, None, list(shape), scale, shift)
                assert library.dequantize_affine(*args).shape == shape


@pytest.mark.parametrize("axis", [0, -1])
def test_non_contiguous_tensors(axis: int) -> None:
    base = random((32, 24)).t()
    dense = base.contiguous()
    scale = library.absmax_scale(base, "qint8", axis)
    assert torch.equal(scale, library.absmax_scale(dense, "qint8", axis))
    spread = torch.stack((scale, scale), -1)[..., 0]
    data = library.quantize_symmetric(base, torch.int8, axis, spread)
    assert torch.equal(data, library.quantize_symmetric(dense, torch.int8, axis, scale))
    flipped = data.t().contiguous().t()
    values = library.dequantize_symmetric(flipped, axis, spread)
    assert torch.equal(values, library.dequantize_symmetric(data, axis, scale))
    scale, shift = library.max_scale(base, 4, axis, 8)
    assert torch.equal(scale, library.max_scale(dense, 4, axis, 8)[0])
    codes = library.quantize_affine(base, 4, axis, 8, scale, shift)
    assert torch.equal(codes, library.quantize_affine(dense, 4, axis, 8, scale, shift))
    flipped = codes.t().contiguous().t()
    assert torch.equal(library.pack(flipped, 4), library.pack(codes, 4))
    assert torch.equal(library.unpack(flipped, 4), library.unpack(codes, 4))
