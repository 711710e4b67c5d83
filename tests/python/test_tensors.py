"""The tensors below the modules: types, groups, packing, optimizers, quantize_weight."""

import pickle

import pytest
import torch

import quanto
from quanto import PackedTensor, qtypes


def test_types_are_the_predecessors():
    found = {
        n: (t.name, t.is_floating_point, t.bits, t.dtype, t.qmin, t.qmax) for n, t in qtypes.items()
    }
    e4m3 = ("qfloat8_e4m3fn", True, 8, torch.float8_e4m3fn, -448.0, 448.0)
    assert found == {
        "qint2": ("qint2", False, 2, torch.int8, -2, 1),
        "qint4": ("qint4", False, 4, torch.int8, -8, 7),
        "qint8": ("qint8", False, 8, torch.int8, -128, 127),
        "qfloat8": e4m3,
        "qfloat8_e4m3fn": e4m3,
        "qfloat8_e4m3fnuz": ("qfloat8_e4m3fnuz", True, 8, torch.float8_e4m3fnuz, -240.0, 240.0),
        "qfloat8_e5m2": ("qfloat8_e5m2", True, 8, torch.float8_e5m2, -57344.0, 57344.0),
    }
    assert quanto.qfloat8 is quanto.qfloat8_e4m3fn
    assert str(quanto.qint8) == "quanto.qint8"
    assert hash(quanto.qint8) == hash("quanto.qint8")
    assert pickle.loads(pickle.dumps(quanto.qint4)) == quanto.qint4


@pytest.mark.parametrize("shape", [(6, 32), (4, 8, 2, 2), (1, 32)], ids=str)
@pytest.mark.parametrize("axis", [0, -1])
def test_ungroup_undoes_group(shape, axis):
    base = torch.arange(float(torch.tensor(shape).prod())).reshape(shape)
    size = {0: 8, -1: 2}[axis] if shape != (1, 32) or axis == 0 else 1
    grouped = quanto.group(base, axis, size)
    assert grouped.shape == quanto.grouped_shape(shape, axis, size)
    assert torch.equal(quanto.ungroup(grouped, axis, base.shape), base)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 16])
def test_packed_tensor_round_trip(bits, rows):
    codes = torch.randint(0, 2**bits, (rows, 5), dtype=torch.uint8)
    packed = PackedTensor.pack(codes, bits)
    assert packed._data.shape == (-(-rows * bits // 8), 5)
    assert torch.equal(packed.unpack(), codes)
    assert (packed.shape, packed.dtype, packed.bits) == (codes.shape, torch.uint8, bits)
    assert torch.equal(packed + 1, codes + 1)
    packed.zero_()
    assert isinstance(packed, PackedTensor)
    assert not packed._data.any()


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("qtype", [quanto.qint2, quanto.qint4], ids=str)
def test_key_value_cache_calls(axis, qtype):
    """As transformers' quantized cache calls, positionally, on four dimensions."""
    tensor = torch.randn(2, 4, 8, 64)
    scale, shift = quanto.MaxOptimizer()(tensor, qtype, axis, 64)
    quantized = quanto.quantize_weight(tensor, qtype, axis, scale, shift, 64)
    values = quantized.dequantize()
    assert values.shape == tensor.shape
    step = scale.max() / 2 * (1 + 2.0**-20)
    assert (values - tensor).abs().max() <= step


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("qtype", [quanto.qint4, quanto.qint8, quanto.qfloat8], ids=str)
def test_quantize_weight_is_straight_through(axis, qtype):
    base = torch.randn(8, 16, requires_grad=True)
    optimizer = quanto.AbsmaxOptimizer() if qtype.bits == 8 else quanto.MaxOptimizer()
    found = optimizer(base, qtype, axis)
    scales = (found,) if qtype.bits == 8 else found
    weight = quanto.quantize_weight(base, qtype, axis, *scales)
    grad = torch.randn(8, 16)
    weight.dequantize().backward(grad)
    assert torch.equal(base.grad, grad)


def test_axis_of_size_one_is_per_tensor():
    base = torch.randn(1, 16)
    scale = quanto.AbsmaxOptimizer()(base, quanto.qint8, 0)
    assert scale.shape == ()
    weight = quanto.quantize_weight(base, quanto.qint8, 0, torch.full((1, 1), scale.item()))
    assert weight.axis is None
    assert weight._scale.shape == ()


def test_integer_shifts():
    base = torch.randn(8, 32)
    scale, shift = quanto.MaxOptimizer()(base, quanto.qint4, 0, 16, True)
    assert shift.dtype == torch.uint8
    weight = quanto.quantize_weight(base, quanto.qint4, 0, scale, shift, 16)
    assert (weight.dequantize() - base).abs().max() <= 1.5 * scale.max()
    expected = base @ weight.dequantize().t()
    torch.testing.assert_close(torch.nn.functional.linear(base, weight), expected)


class Midpoint(quanto.AffineOptimizer):
    def optimize(self, base, qtype, axis):
        rows = base.amax(dim=1, keepdim=True)
        return rows / 8, rows


def test_optimizers_of_users_are_given_groups():
    base = torch.rand(4, 32) + 1
    scale, shift = Midpoint()(base, quanto.qint4, 0, 16)
    assert scale.shape == shift.shape == (8, 1)
    zeropoint = Midpoint()(base, quanto.qint4, 0, 16, zeropoint=True)[1]
    assert torch.equal(zeropoint, torch.full((8, 1), 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("optimizer", "qtype"),
    [(quanto.AbsmaxOptimizer(), quanto.qint8), (quanto.MaxOptimizer(), quanto.qint4)],
    ids=["symmetric", "affine"],
)
def test_optimizers_refuse_other_axes(optimizer, qtype):
    with pytest.raises(ValueError, match=r"Optimizer: expected axis .*, got 1"):
        optimizer(torch.ones(4, 32), qtype, axis=1)


def test_qfallback_dequantizes():
    weight = quanto.quantize_weight(
        torch.eye(4), quanto.qint8, 0, quanto.absmax_scale(torch.eye(4), quanto.qint8, 0)
    )
    assert torch.equal(quanto.qfallback(torch.add, weight, other=1), weight.dequantize() + 1)


def test_axis_helpers():
    tensor = torch.zeros(2, 3, 4)
    assert quanto.axis_to_dim(tensor, 0) == [1, 2]
    assert quanto.axis_to_dim(tensor, -1) == [0, 1]
    assert quanto.dtype_info(torch.int8).max == 127
    assert quanto.dtype_info(torch.float8_e4m3fn).max == 448
