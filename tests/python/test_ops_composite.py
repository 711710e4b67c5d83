"""The composites, run on CPU tensors, against the CPU kernels."""

from typing import Any

import pytest
import torch
from op_inputs import FLOATS, SCHEMES, call_of_every_op, quantized, random, scheme_id
from tolerances import HQQ_OBJECTIVE, SCALE_ULPS, dense_bound, ulps

from quanto import composite, library

MATMULS = {"linear", "qlinear", "conv2d", "qbytes_mm"}
SCALES = {"absmax_scale", "max_scale", "hqq_scale"}


def pairs(op: str, args: tuple[Any, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    ours, kernel = getattr(composite, op)(*args), getattr(torch.ops.quanto, op)(*args)
    return list(zip(ours, kernel, strict=True)) if isinstance(ours, tuple) else [(ours, kernel)]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("op", sorted(set(call_of_every_op()) - MATMULS - SCALES))
def test_equal(op: str, dtype: torch.dtype) -> None:
    for args in call_of_every_op(dtype)[op]:
        for ours, kernel in pairs(op, args):
            assert ours.dtype == kernel.dtype
            assert torch.equal(ours, kernel)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("op", sorted(SCALES - {"hqq_scale"}))
def test_scales(op: str, dtype: torch.dtype) -> None:
    for args in call_of_every_op(dtype)[op]:
        for ours, kernel in pairs(op, args):
            assert ours.shape == kernel.shape
            if ours.dtype == torch.uint8:
                assert torch.equal(ours, kernel)
            else:
                assert ulps(ours, kernel) <= SCALE_ULPS


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("group_size", [None, 16])
@pytest.mark.parametrize("zeropoint", [False, True])
def test_hqq(bits: int, axis: int, group_size: int | None, zeropoint: bool) -> None:
    base = random((64, 96))
    args = (base, bits, axis, group_size, zeropoint, 0.7, 10.0, 1.01, 20)
    errors = []
    for search in (composite.hqq_scale, library.hqq_scale):
        scale, shift = search(*args)
        codes = library.quantize_affine(base, bits, axis, group_size, scale, shift)
        packed, size = library.pack(codes, bits), list(base.shape)
        dense = library.dequantize_affine(packed, bits, axis, group_size, size, scale, shift)
        errors.append((base - dense).abs().mean().item())
    assert max(errors) <= HQQ_OBJECTIVE * min(errors)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("group_size", [None, 6])
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shape", [(12, 30), (5, 6), (18, 2, 3, 4)], ids=str)
def test_groups_of_any_shape(
    bits: int, axis: int, group_size: int | None, shape: tuple[int, ...]
) -> None:
    elements = torch.Size(shape).numel() // shape[axis]
    if group_size is not None and elements % group_size != 0:
        with pytest.raises(ValueError, match="group_size to divide"):
            composite.max_scale(random(shape), bits, axis, group_size, False)
        return
    base = random(shape)
    scale, shift = library.max_scale(base, bits, axis, group_size)
    codes = composite.quantize_affine(base, bits, axis, group_size, scale, shift)
    assert torch.equal(codes, library.quantize_affine(base, bits, axis, group_size, scale, shift))
    packed = composite.pack(codes, bits)
    assert torch.equal(packed, library.pack(codes, bits))
    args = (packed, bits, axis, group_size, list(shape), scale, shift)
    assert torch.equal(composite.dequantize_affine(*args), library.dequantize_affine(*args))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("scheme", SCHEMES, ids=scheme_id)
def test_linear(scheme: tuple[str, int | None, bool], dtype: torch.dtype) -> None:
    weight, x = quantized(scheme, (24, 96), dtype), random((5, 96), dtype)
    exact = weight.exact()
    bound = dense_bound(x, exact, weight.magnitude(), dtype)
    error = (composite.linear(*weight.linear_args(x)).double() - x.double() @ exact.t()).abs()
    assert (error <= bound).all()


def test_qbytes_mm() -> None:
    weight = quantized(("qint8", None, False))
    for a in (random((5, 96)), random((5, 96)).mul(40).round().to(torch.int8)):
        exact = a.double() @ weight.exact().t()
        error = (composite.qbytes_mm(a, weight.data, weight.scale).double() - exact).abs()
        assert (error <= dense_bound(a, weight.exact(), weight.magnitude(), torch.float32)).all()


@pytest.mark.parametrize("op", sorted(call_of_every_op()))
def test_composites_run_where_there_is_no_kernel(op: str) -> None:
    """The dispatcher's own table: kernels on CPU and Meta, the composite on every other device."""
    lines = torch._C._dispatch_dump_table(f"quanto::{op}").splitlines()
    table = {line.split(":")[0]: line for line in lines}
    for key in ("CPU", "Meta"):
        assert table[key].endswith("[kernel]")
        assert "/composite/" not in table[key]
    for key in ("CUDA", "MPS", "XPU", "HIP", "PrivateUse1"):
        assert table[key].endswith("[default backend kernel]")
        assert "/composite/" in table[key]


def test_a_composite_leaks_no_gradient() -> None:
    weight = quantized(("qint8", None, False))
    x = random((2, 96)).requires_grad_()
    kernel = composite._without_gradient(composite.linear)
    assert kernel(*weight.linear_args(x)).grad_fn is None
    assert composite.linear(*weight.linear_args(x)).grad_fn is not None
