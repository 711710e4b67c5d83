"""The linear operator against float64, within the bound of its own arithmetic."""

import pytest
import torch
from op_inputs import FLOATS, SCHEMES, Weight, quantized, random, scheme_id
from tolerances import matmul_bound

linear = torch.ops.quanto.linear.default
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=scheme_id)
every_float = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def check(weight: Weight, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    result = linear(*weight.linear_args(x, bias))
    assert result.dtype == x.dtype
    assert result.shape == (*x.shape[:-1], weight.size[0])
    dense = weight.exact()
    exact = x.double() @ dense.t()
    if bias is not None:
        exact = exact + bias.double()
    bound = matmul_bound(x, dense, bias, x.dtype, weight.magnitude())
    assert ((result.double() - exact).abs() <= bound).all()
    return result


@every_float
@every_scheme
@pytest.mark.parametrize("rows", [1, 4, 5, 33])
def test_result(scheme: tuple[str, int | None, bool], dtype: torch.dtype, rows: int) -> None:
    check(quantized(scheme, (24, 96), dtype), random((rows, 96), dtype), random((24,), dtype))


@every_scheme
@pytest.mark.parametrize("scale_dtype", FLOATS, ids=str)
def test_scale_of_another_dtype(
    scheme: tuple[str, int | None, bool], scale_dtype: torch.dtype
) -> None:
    check(quantized(scheme, (24, 96), scale_dtype), random((2, 96), torch.float32))


@every_scheme
@pytest.mark.parametrize("size", [(1, 96), (7, 96), (33, 96), (64, 160)], ids=str)
def test_odd_sizes(scheme: tuple[str, int | None, bool], size: tuple[int, int]) -> None:
    check(quantized(scheme, size), random((3, size[1])))


@pytest.mark.parametrize("name", ["qint8", "qfloat8_e4m3fn", "qint4", "qint2"])
@pytest.mark.parametrize("columns", [1, 3, 17, 100])
def test_any_number_of_columns(name: str, columns: int) -> None:
    check(quantized((name, None, False), (9, columns)), random((6, columns)))


def test_one_scale_for_all() -> None:
    weight = quantized(("qint8", None, False))
    for scale in (torch.tensor(0.5), torch.tensor([0.5]), torch.tensor([[0.5]])):
        check(Weight(weight.data, scale, None, 8, None, weight.size), random((2, 96)))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_left_out_arguments_of_8_bits(device: str) -> None:
    weight, x = quantized(("qint8", None, False)), random((2, 96)).to(device)
    data, scale = weight.data.to(device), weight.scale.to(device)
    short, full = linear(x, data, scale), linear(x, data, scale, None, None, 8, None, len(data))
    assert short.shape == full.shape
    assert device == "meta" or torch.equal(short, full)


def test_data_of_no_dimension() -> None:
    with pytest.raises(ValueError, match=r"data of shape \(0, 96\), got \(\)"):
        linear(random((2, 96)), torch.tensor(1, dtype=torch.int8), torch.ones(1))


@every_scheme
def test_leading_dimensions(scheme: tuple[str, int | None, bool]) -> None:
    weight, x = quantized(scheme), random((2, 3, 96))
    result = check(weight, x)
    assert torch.equal(result.reshape(6, -1), linear(*weight.linear_args(x.reshape(6, 96))))
    assert check(weight, x[1, 2]).shape == (24,)


@every_scheme
def test_non_contiguous(scheme: tuple[str, int | None, bool]) -> None:
    weight, x, bias = quantized(scheme), random((96, 5)).t(), random((48,))[::2]
    expected = linear(*weight.linear_args(x.contiguous(), bias.contiguous()))
    spread = Weight(
        weight.data.t().contiguous().t(),
        weight.scale.repeat(1, 2)[:, :1],
        None if weight.shift is None else weight.shift.repeat(1, 2)[:, :1],
        weight.bits,
        weight.group_size,
        weight.size,
    )
    assert not spread.data.is_contiguous()
    assert torch.equal(linear(*spread.linear_args(x, bias)), expected)


def test_data_of_any_alignment() -> None:
    weight, x = quantized(("qint4", 32, False)), random((3, 96))
    shifted = torch.empty(weight.data.numel() + 1, dtype=torch.uint8)[1:]
    data = shifted.copy_(weight.data.flatten()).view(weight.data.shape)
    moved = Weight(data, weight.scale, weight.shift, 4, 32, weight.size)
    assert torch.equal(linear(*moved.linear_args(x)), linear(*weight.linear_args(x)))


@every_scheme
def test_empty(scheme: tuple[str, int | None, bool]) -> None:
    weight = quantized(scheme)
    assert linear(*weight.linear_args(random((0, 96)))).shape == (0, 24)
    none = quantized(scheme, (0, 96))
    assert linear(*none.linear_args(random((3, 96)))).shape == (3, 0)


def test_no_columns_give_the_bias() -> None:
    weight = Weight(torch.empty(4, 0, dtype=torch.int8), torch.ones(4, 1), None, 8, None, (4, 0))
    bias = random((4,))
    assert torch.equal(linear(*weight.linear_args(torch.empty(2, 0), bias)), bias.expand(2, 4))
    assert not linear(*weight.linear_args(torch.empty(2, 0))).any()


@every_scheme
def test_the_number_of_threads_does_not_matter(scheme: tuple[str, int | None, bool]) -> None:
    weight, x = quantized(scheme, (512, 256)), random((9, 256))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(linear(*weight.linear_args(x)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_inference_mode() -> None:
    weight, x = quantized(("qint8", None, False)), random((2, 96))
    expected = linear(*weight.linear_args(x))
    with torch.inference_mode():
        assert torch.equal(linear(*weight.linear_args(x)), expected)
