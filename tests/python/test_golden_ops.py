# SPDX-License-Identifier: Apache-2.0
"""The operators, grouping and packing against optimum-quanto's results, and its errors."""

import golden
import pytest
import torch
from tolerances import dense_bound, matmul_bound

import quanto
from quanto import library


def test_every_case_runs() -> None:
    """Each case stands in exactly one test below."""
    chosen = {
        "library_ops": [
            "quanto::quantize_symmetric",
            "quanto::quantize_affine",
            "quanto::unpack",
            "quanto::qbytes_mm",
        ],
        "group_pack": ["group(", "PackedTensor.pack("],
    }
    for name, calls in chosen.items():
        for case in golden.cases(name).values():
            known = case.id in golden.deviations(name)
            assert known or any(case.call.startswith(call) for call in calls), case.id


@golden.every("library_ops", "quanto::quantize_symmetric")
def test_quantize_symmetric(case: golden.Case) -> None:
    dtype = getattr(torch, case.params["dtype"])
    base, scale = case.inputs["base"], case.inputs["scale"]
    data = library.quantize_symmetric(base, dtype, case.params["axis"], scale)
    assert data.dtype == dtype
    assert torch.equal(data.view(torch.uint8), case.outputs["data"].view(torch.uint8))


@golden.every("library_ops", "quanto::quantize_affine")
def test_quantize_affine(case: golden.Case) -> None:
    bits, axis, group_size = (case.params[name] for name in ("bits", "axis", "group_size"))
    base, scale, shift = (case.inputs[name] for name in ("base", "scale", "shift"))
    data = library.quantize_affine(base, bits, axis, group_size, scale, shift)
    assert torch.equal(data, case.outputs["data"])


@golden.every("library_ops", "quanto::unpack")
def test_unpack(case: golden.Case) -> None:
    data = library.unpack(case.inputs["packed"], case.params["bits"])
    assert torch.equal(data, case.outputs["data"])


@golden.every("library_ops", "quanto::qbytes_mm")
def test_qbytes_mm(case: golden.Case) -> None:
    a, b, scales = (case.inputs[name] for name in ("activations", "weights", "scales"))
    theirs = case.outputs["result"]
    ours = library.qbytes_mm(a, b, scales)
    assert ours.dtype == theirs.dtype
    weight = b.double() * scales.double()
    rows = a.double().reshape(-1, a.shape[-1])
    exact = rows @ weight.t()
    error = (ours.double().reshape(exact.shape) - exact).abs()
    assert (error <= matmul_bound(rows, weight, None, ours.dtype)).all()
    # The original rounds scale * B to the dtype before it multiplies.
    distance = (ours.double() - theirs.double()).abs().reshape(exact.shape)
    assert (distance <= 2 * dense_bound(rows, weight, weight.abs(), theirs.dtype)).all()


@golden.every("group_pack", "group(")
def test_group_and_ungroup(case: golden.Case) -> None:
    axis, group_size = case.params["axis"], case.params["group_size"]
    base = case.inputs["base"]
    grouped = quanto.group(base, axis, group_size)
    assert torch.equal(grouped, case.outputs["grouped"])
    assert quanto.grouped_shape(base.shape, axis, group_size) == tuple(grouped.shape)
    assert torch.equal(quanto.ungroup(grouped, axis, base.shape), base)


@golden.every("group_pack", "PackedTensor.pack(")
def test_pack(case: golden.Case) -> None:
    codes, bits = case.inputs["t"], case.params["bits"]
    packed = library.pack(codes, bits)
    assert torch.equal(packed, case.outputs["packed"])
    unpacked = library.unpack(packed, bits)
    assert torch.equal(unpacked[: codes.shape[0]], codes)
    assert torch.equal(unpacked, case.outputs["unpacked_rows"])


@golden.every("library_ops", expected="another format's")
def test_layouts_of_other_formats(case: golden.Case) -> None:
    """Their helpers are not part of this package: the formats' readers have their own."""
    assert not case.call.startswith("quanto::")
    module = case.call.split("(")[0].rpartition(".")[0]
    assert module.startswith("tensor.weights.")


W32, ONES = torch.ones(4, 32), torch.ones(4, 1)
CALLS = {
    "e01": lambda: quanto.quantize_weight(W32, quanto.qint8, 1, ONES),
    "e02": lambda: quanto.quantize_weight(W32, quanto.qint8, 0, ONES, shift=ONES),
    "e03": lambda: quanto.quantize_weight(W32, quanto.qint8, 0, ONES, group_size=16),
    "e04": lambda: quanto.quantize_weight(W32, quanto.qint4, 0, ONES),
    "e05": lambda: quanto.quantize_weight(W32, quanto.qint8, 0, torch.ones(1)),
    "e06": lambda: quanto.quantize_weight(W32, quanto.qint8, 0, W32),
    "e07": lambda: quanto.quantize_weight(torch.ones(8), quanto.qint8, 0, torch.ones(8)),
    "e08": lambda: quanto.quantize_activation(W32, quanto.qint8, torch.ones(2)),
    "e09": lambda: quanto.quantize_activation(W32, quanto.qint8, torch.ones(1)),
    "e10": lambda: quanto.quantize_activation(W32, quanto.qint4, torch.tensor(1.0)),
    "e11": lambda: library.quantize_symmetric(
        torch.ones(4, 32, 4), torch.int8, 1, torch.ones(1, 32, 1)
    ),
    "e12": lambda: library.quantize_symmetric(torch.ones(1, 32), torch.int8, 0, torch.ones(1, 1)),
    "e13": lambda: library.quantize_affine(W32, 4, 1, None, ONES, ONES),
    "e14": lambda: quanto.group(W32, 0, 24),
    "e15": lambda: quanto.group(W32, 1, 16),
    "e16": lambda: library.absmax_scale(W32, "qint8", 1),
    "e17": lambda: library.max_scale(W32, 4, 1, None),
    "e19": lambda: quanto.QLinear(32, 4, weights="qint8", activations="qint8")(
        quanto.quantize_activation(W32, quanto.qfloat8_e4m3fn, torch.tensor(1.0))
    ),
    "e20": lambda: quanto.QLinear(8, 8, activations="qint8")(torch.ones(2, 8)),
    "e21": lambda: quanto.quantize(torch.nn.Sequential(torch.nn.Linear(4, 4)), weights="qint3"),
}
KINDS = {"ValueError": ValueError, "KeyError": KeyError, "TypeError": TypeError}


@golden.every("errors")
def test_errors(case: golden.Case) -> None:
    with pytest.raises(KINDS[case.raises], match=r"^\w+: expected .*, got "):
        CALLS[case.id]()


@golden.every("errors", expected="works")
def test_what_raised_and_works_now(case: golden.Case) -> None:
    assert case.id == "e18"
    scale = library.absmax_scale(W32, "qint8", 0)
    weight = quanto.quantize_weight(W32, quanto.qint8, 0, scale)
    assert weight.to(dtype=torch.float16).dtype == torch.float16
