"""Convolutions with a quantized weight, against float64 on the values they multiply."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from op_inputs import ACTIVATIONS, FLOATS, Convolution, codes_of, convolution, random, scheme_id
from tolerances import convolution_bound, input_rounding
from torch.nn import functional as F

from quanto import composite, library

conv2d = torch.ops.quanto.conv2d.default
# The weights below have 4 * 3 * 3 elements an output.
SCHEMES = [
    ("qint8", None, False),
    ("qfloat8_e4m3fn", None, False),
    ("qfloat8_e5m2", None, False),
    ("qfloat8_e4m3fnuz", None, False),
    ("qint4", None, False),
    ("qint4", 12, False),
    ("qint4", 12, True),
    ("qint2", 18, False),
    ("qint2", None, True),
]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=scheme_id)
every_float = pytest.mark.parametrize("dtype", FLOATS, ids=str)
SCALE = torch.tensor(3 / 127)
# activation, input scale
ACTIVATED = [(None, None), (torch.int8, SCALE), (torch.int8, None), (torch.float8_e4m3fn, SCALE)]
activated = pytest.mark.parametrize(
    ("activation", "scale"), ACTIVATED, ids=["weight-only", "static", "dynamic", "float8"]
)


def check(
    conv: Convolution,
    x: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: torch.dtype | None = None,
    scale: torch.Tensor | None = None,
    op: Any = conv2d,
) -> torch.Tensor:
    result = op(*conv.args(x, bias, activation, scale))
    assert result.dtype == x.dtype
    assert result.is_contiguous()
    images = x.shape[0] if x.dim() == 4 else 1
    values = x.double() if activation is None else codes_of(x, scale, activation, images)
    wide = None if bias is None else bias.double()
    exact = F.conv2d(values, conv.exact(), wide, *conv.geometry)
    assert result.shape == exact.shape
    bound = convolution_bound(values, conv.exact(), bias, x.dtype, conv.magnitude(), conv.geometry)
    if x.dtype == torch.bfloat16 and conv.weight.bits < 8:
        terms = F.conv2d(values.abs(), conv.magnitude(), None, *conv.geometry)
        bound = bound + input_rounding(terms, x.dtype)  # of the weight, in some kernels
    assert ((result.double() - exact).abs() <= bound).all()
    return result


@activated
@every_float
@every_scheme
def test_result(
    scheme: tuple[str, int | None, bool],
    dtype: torch.dtype,
    activation: torch.dtype | None,
    scale: torch.Tensor | None,
) -> None:
    conv = convolution(scheme, (6, 4, 3, 3), dtype, padding=(1, 1))
    check(conv, random((2, 4, 7, 9), dtype), random((6,), dtype), activation, scale)


GEOMETRIES = [
    {"stride": (2, 1)},
    {"stride": (3, 4), "padding": (2, 3)},
    {"padding": (3, 0), "dilation": (2, 1)},
    {"padding": (0, 2), "dilation": (1, 2)},
    {"stride": (2, 2), "padding": (4, 4), "dilation": (3, 3)},
]


@activated
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("scheme", [SCHEMES[0], SCHEMES[5], SCHEMES[7]], ids=scheme_id)
def test_geometry(
    scheme: tuple[str, int | None, bool],
    groups: int,
    geometry: dict[str, tuple[int, int]],
    activation: torch.dtype | None,
    scale: torch.Tensor | None,
) -> None:
    conv = convolution(scheme, (8, 4, 3, 3), groups=groups, **geometry)
    check(conv, random((2, 4 * groups, 11, 13)), random((8,)), activation, scale)


@activated
@every_float
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise(
    multiplier: int,
    geometry: dict[str, tuple[int, int]],
    dtype: torch.dtype,
    activation: torch.dtype | None,
    scale: torch.Tensor | None,
) -> None:
    for scheme in (("qint8", None, False), ("qint4", 3, False), ("qint2", None, True)):
        conv = convolution(scheme, (5 * multiplier, 1, 3, 3), dtype, groups=5, **geometry)
        x, bias = random((2, 5, 11, 10), dtype), random((5 * multiplier,), dtype)
        check(conv, x, bias, activation, scale)


@activated
@pytest.mark.parametrize("kernel", [(1, 1), (1, 5), (7, 2), (2, 9), (3, 33)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_kernels_of_any_size(
    kernel: tuple[int, int],
    dtype: torch.dtype,
    activation: torch.dtype | None,
    scale: torch.Tensor | None,
) -> None:
    conv = convolution(("qint8", None, False), (3, 2, *kernel), dtype, padding=(2, 1))
    check(conv, random((2, 2, 9, 40), dtype), None, activation, scale)


@activated
def test_several_tiles(activation: torch.dtype | None, scale: torch.Tensor | None) -> None:
    """Tiles of a fraction of an image, and of several images."""
    for images, side in ((1, 45), (3, 40), (40, 6)):
        for conv in (
            convolution(("qint4", 12, False), (6, 4, 3, 3), groups=2, padding=(1, 1)),
            convolution(("qint8", None, False), (5, 8, 3, 3), stride=(1, 2)),
        ):
            check(conv, random((images, 8, side, side)), None, activation, scale)


@activated
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_one_image_without_a_batch(
    groups: int, activation: torch.dtype | None, scale: torch.Tensor | None
) -> None:
    conv = convolution(("qint8", None, False), (4, 4 // groups, 3, 3), groups=groups)
    x = random((4, 6, 6))
    result = check(conv, x, None, activation, scale)
    assert result.shape == (4, 4, 4)
    assert torch.equal(result, conv2d(*conv.args(x[None], None, activation, scale))[0])


@activated
@pytest.mark.parametrize("groups", [1, 4])
def test_no_images(groups: int, activation: torch.dtype | None, scale: torch.Tensor | None) -> None:
    conv = convolution(("qint8", None, False), (4, 4 // groups, 3, 3), groups=groups)
    for output_scale in (None, SCALE)[: 1 if activation is None else 2]:
        args = conv.args(torch.empty(0, 4, 6, 7), None, activation, scale, output_scale)
        result = conv2d(*args)
        assert result.shape == (0, 4, 4, 5)
        assert result.dtype == (torch.float32 if output_scale is None else activation)


@activated
@pytest.mark.parametrize("groups", [1, 4])
def test_memory_formats(
    groups: int, activation: torch.dtype | None, scale: torch.Tensor | None
) -> None:
    conv = convolution(("qint8", None, False), (4, 4 // groups, 3, 3), groups=groups)
    x = random((2, 4, 6, 7))
    expected = conv2d(*conv.args(x, None, activation, scale))
    lasting = x.contiguous(memory_format=torch.channels_last)
    strided = torch.stack((x, x), -1)[..., 0]
    for other in (lasting, strided, x.transpose(2, 3).contiguous().transpose(2, 3)):
        assert torch.equal(conv2d(*conv.args(other, None, activation, scale)), expected)
    data = conv.weight.data.contiguous(memory_format=torch.channels_last)
    conv = replace(conv, weight=replace(conv.weight, data=data))
    assert torch.equal(conv2d(*conv.args(x, None, activation, scale)), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
@every_float
def test_codes_in_and_out(dtype: torch.dtype, groups: int, activation: torch.dtype) -> None:
    conv = convolution(("qint8", None, False), (8, 4 // groups, 3, 3), dtype, groups=groups)
    x, bias, scale = random((2, 4, 6, 7), dtype), random((8,), dtype), SCALE.to(dtype)
    result = conv2d(*conv.args(x, bias, activation, scale))
    codes = library.quantize_symmetric(x, activation, None, scale)
    assert torch.equal(conv2d(*conv.args(codes, bias, activation, scale)), result)
    output = torch.tensor(0.1)
    expected = library.quantize_symmetric(result, activation, None, output.to(dtype))
    mine = conv2d(*conv.args(x, bias, activation, scale, output))
    assert torch.equal(mine, expected)


def test_dynamic_scales_are_per_image() -> None:
    conv = convolution(("qint8", None, False), (6, 4, 3, 3))
    x = random((3, 4, 7, 7)) * torch.tensor([1.0, 0.01, 100.0]).reshape(3, 1, 1, 1)
    result = check(conv, x, None, torch.int8)
    for image, alone in zip(x, result, strict=True):
        torch.testing.assert_close(conv2d(*conv.args(image, None, torch.int8)), alone)


@activated
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_composite(
    groups: int, activation: torch.dtype | None, scale: torch.Tensor | None
) -> None:
    for scheme in (("qint8", None, False), ("qint4", 9, False)):
        conv = convolution(scheme, (8, 4 // groups, 3, 3), groups=groups, padding=(1, 1))
        for shape in ((4, 6, 7), (2, 4, 6, 7)):
            check(conv, random(shape), random((8,)), activation, scale, composite.conv2d)


@activated
@pytest.mark.parametrize("groups", [1, 2, 8])
@every_scheme
def test_the_number_of_threads_does_not_matter(
    scheme: tuple[str, int | None, bool],
    groups: int,
    activation: torch.dtype | None,
    scale: torch.Tensor | None,
) -> None:
    size = (8, 1, 6, 6) if groups == 8 else (8, 4, 3, 3)
    conv = convolution(scheme, size, groups=groups, padding=(1, 1))
    x = random((2, size[1] * groups, 33, 32))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(conv2d(*conv.args(x, None, activation, scale)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("scheme", SCHEMES, ids=scheme_id)
@pytest.mark.parametrize("groups", [1, 2])
def test_groups_that_fill_tiles(scheme: tuple[str, int | None, bool], groups: int) -> None:
    """Of bfloat16: in tile registers where the CPU has them; packed weights lose a rounding."""
    for geometry in ({"padding": (1, 1)}, {"stride": (2, 1)}):
        conv = convolution(scheme, (40, 36, 3, 3), torch.bfloat16, groups=groups, **geometry)
        x, bias = random((2, 36 * groups, 22, 13), torch.bfloat16), random((40,), torch.bfloat16)
        check(conv, x, bias)
