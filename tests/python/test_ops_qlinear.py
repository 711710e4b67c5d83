"""Linear layers with quantized activations, against float64 on the codes they multiply."""

import pytest
import torch
from op_inputs import ACTIVATIONS, FLOATS, SCHEMES, Weight, codes_of, quantized, random, scheme_id
from tolerances import matmul_bound

from quanto import composite, library

qlinear = torch.ops.quanto.qlinear.default
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=scheme_id)
every_float = pytest.mark.parametrize("dtype", FLOATS, ids=str)
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
dynamic_or_not = pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
SCALE = torch.tensor(3 / 127)


def check(
    weight: Weight,
    x: torch.Tensor,
    scale: torch.Tensor | None,
    activation: torch.dtype,
    bias: torch.Tensor | None = None,
    op: object = qlinear,
) -> torch.Tensor:
    result = op(*weight.qlinear_args(x, scale, activation, bias))
    assert result.dtype == x.dtype
    assert result.shape == (*x.shape[:-1], weight.size[0])
    values = codes_of(x, scale, activation)
    exact = values @ weight.exact().t()
    if bias is not None:
        exact = exact + bias.double()
    bound = matmul_bound(values, weight.exact(), bias, x.dtype, weight.magnitude())
    assert ((result.double() - exact).abs() <= bound).all()
    return result


@dynamic_or_not
@every_float
@every_scheme
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_int8(
    scheme: tuple[str, int | None, bool], dtype: torch.dtype, rows: int, dynamic: bool
) -> None:
    weight, x = quantized(scheme, (24, 96), dtype), random((rows, 96), dtype)
    check(weight, x, None if dynamic else SCALE.to(dtype), torch.int8, random((24,), dtype))


@dynamic_or_not
@every_activation
@pytest.mark.parametrize("name", ["qint8", "qfloat8_e4m3fn", "qint4"])
@pytest.mark.parametrize("rows", [1, 17])
def test_every_activation(name: str, activation: torch.dtype, rows: int, dynamic: bool) -> None:
    scale = None if dynamic else torch.tensor(0.01)
    check(quantized((name, None, False)), random((rows, 96)), scale, activation)


@every_scheme
@pytest.mark.parametrize("size", [(1, 96), (7, 96), (33, 96), (64, 160)], ids=str)
@pytest.mark.parametrize("rows", [3, 20])
def test_odd_sizes(scheme: tuple[str, int | None, bool], size: tuple[int, int], rows: int) -> None:
    check(quantized(scheme, size), random((rows, size[1])), SCALE, torch.int8)


@pytest.mark.parametrize("columns", [1, 3, 17, 100, 257])
@pytest.mark.parametrize("rows", [2, 19])
def test_any_number_of_columns(columns: int, rows: int) -> None:
    weight = quantized(("qint8", None, False), (9, columns))
    check(weight, random((rows, columns)), None, torch.int8)


def test_the_largest_sums_are_exact() -> None:
    """int8 codes of 127 in every place: no product or sum may saturate."""
    columns = 4096
    data = torch.full((4, columns), 127, dtype=torch.int8)
    data[1::2] = -128
    weight = Weight(data, torch.ones(4, 1), None, 8, None, (4, columns))
    for rows in (1, 20):
        for code in (127, -128):
            x = torch.full((rows, columns), code, dtype=torch.int8)
            args = weight.qlinear_args(x, torch.tensor(1.0), torch.int8)
            exact = x.double() @ data.double().t()
            bound = matmul_bound(x, data, None, torch.float32)
            assert ((qlinear(*args).double() - exact).abs() <= bound).all()


@dynamic_or_not
@every_float
def test_the_composite(dtype: torch.dtype, dynamic: bool) -> None:
    for scheme in (("qint8", None, False), ("qfloat8_e4m3fn", None, False)):
        weight, x = quantized(scheme, dtype=torch.float32), random((5, 96), dtype)
        scale = None if dynamic else SCALE
        check(weight, x, scale, torch.int8, random((24,), dtype), composite.qlinear)


@every_float
@every_activation
def test_the_scale_is_rounded_to_the_inputs_dtype(
    dtype: torch.dtype, activation: torch.dtype
) -> None:
    weight, x, scale = quantized(("qint8", None, False)), random((3, 96), dtype), SCALE * 1.001
    expected = qlinear(*weight.qlinear_args(x, scale.to(dtype), activation))
    assert torch.equal(qlinear(*weight.qlinear_args(x, scale, activation)), expected)


@every_scheme
@every_activation
def test_codes_as_input(scheme: tuple[str, int | None, bool], activation: torch.dtype) -> None:
    weight, x, bias = quantized(scheme, dtype=torch.bfloat16), random((6, 96)), random((24,))
    x, bias, scale = x.bfloat16(), bias.bfloat16(), SCALE.bfloat16()
    codes = library.quantize_symmetric(x, activation, None, scale)
    result = qlinear(*weight.qlinear_args(codes, scale.float(), activation, bias))
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, qlinear(*weight.qlinear_args(x, scale, activation, bias)))


@dynamic_or_not
@every_float
@every_activation
def test_codes_as_result(dtype: torch.dtype, activation: torch.dtype, dynamic: bool) -> None:
    weight, x, bias = quantized(("qint4", 32, False)), random((7, 96), dtype), random((24,), dtype)
    scale = None if dynamic else SCALE
    result = qlinear(*weight.qlinear_args(x, scale, activation, bias))
    for output_scale in (torch.tensor(0.1), torch.tensor(0.1, dtype=dtype)):
        codes = qlinear(*weight.qlinear_args(x, scale, activation, bias, output_scale))
        assert codes.dtype == activation
        rounded = output_scale.to(dtype)
        assert torch.equal(codes, library.quantize_symmetric(result, activation, None, rounded))


def test_a_row_of_zeros_and_a_scale_of_zero() -> None:
    weight, x, bias = quantized(("qint8", None, False)), random((3, 96)), random((24,))
    x[1] = 0
    result = qlinear(*weight.qlinear_args(x, None, torch.int8, bias))
    assert torch.equal(result[1], bias)
    zero = qlinear(*weight.qlinear_args(x, torch.tensor(0.0), torch.int8, bias))
    assert torch.equal(zero, bias.expand(3, 24))


@dynamic_or_not
@every_scheme
def test_leading_dimensions(scheme: tuple[str, int | None, bool], dynamic: bool) -> None:
    weight, x = quantized(scheme), random((2, 3, 96))
    scale = None if dynamic else SCALE
    result = check(weight, x, scale, torch.int8)
    flat = qlinear(*weight.qlinear_args(x.reshape(6, 96), scale, torch.int8))
    assert torch.equal(result.reshape(6, -1), flat)
    assert check(weight, x[1, 2], scale, torch.int8).shape == (24,)


@dynamic_or_not
def test_non_contiguous(dynamic: bool) -> None:
    weight, x, bias = quantized(("qint8", None, False)), random((96, 5)).t(), random((48,))[::2]
    scale = None if dynamic else SCALE
    expected = qlinear(*weight.qlinear_args(x.contiguous(), scale, torch.int8, bias.contiguous()))
    assert torch.equal(qlinear(*weight.qlinear_args(x, scale, torch.int8, bias)), expected)


@dynamic_or_not
@every_scheme
def test_empty(scheme: tuple[str, int | None, bool], dynamic: bool) -> None:
    scale = None if dynamic else SCALE
    for weight, rows in ((quantized(scheme), 0), (quantized(scheme, (0, 96)), 3)):
        for output_scale, dtype in ((None, torch.float32), (SCALE, torch.int8)):
            x = random((rows, 96))
            args = weight.qlinear_args(x, scale, torch.int8, None, output_scale)
            result = qlinear(*args)
            assert (result.shape, result.dtype) == ((rows, weight.size[0]), dtype)


@dynamic_or_not
def test_no_columns_give_the_bias(dynamic: bool) -> None:
    weight = Weight(torch.empty(4, 0, dtype=torch.int8), torch.ones(4, 1), None, 8, None, (4, 0))
    bias, scale = random((4,)), None if dynamic else SCALE
    args = weight.qlinear_args(torch.empty(2, 0), scale, torch.int8, bias)
    assert torch.equal(qlinear(*args), bias.expand(2, 4))


@dynamic_or_not
@every_scheme
def test_the_number_of_threads_does_not_matter(
    scheme: tuple[str, int | None, bool], dynamic: bool
) -> None:
    weight, x = quantized(scheme, (512, 256)), random((9, 256))
    args = weight.qlinear_args(x, None if dynamic else SCALE, torch.int8)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(qlinear(*args))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
