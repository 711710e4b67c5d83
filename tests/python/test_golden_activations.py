# SPDX-License-Identifier: Apache-2.0
"""Quantized activations against optimum-quanto's: codes, scales, what functions make of them."""

import golden
import pytest
import torch
from tolerances import FUNCTION, SCALE_PRODUCT_ULPS, SCALE_ULPS, ulps
from torch.nn import functional as F

import quanto

OTHER = {torch.float32: torch.float16, torch.float16: torch.float32, torch.bfloat16: torch.float16}

CALLS = {
    "relu(qx)": lambda t: torch.relu(t.qx),
    "neg(qx)": lambda t: torch.neg(t.qx),
    "mul(qx, 2.5)": lambda t: torch.mul(t.qx, 2.5),
    "mul(0.5, qx)": lambda t: 0.5 * t.qx,
    "div(qx, 3.0)": lambda t: torch.div(t.qx, 3.0),
    "softmax(qx, -1)": lambda t: torch.softmax(t.qx, -1),
    "transpose(qx, 1, 2)": lambda t: torch.transpose(t.qx, 1, 2),
    "view(qx, [24, 8])": lambda t: t.qx.view(24, 8),
    "permute(qx, [2,0,1])": lambda t: t.qx.permute(2, 0, 1),
    "qx[:, 1:4]": lambda t: t.qx[:, 1:4],
    "qx[2]": lambda t: t.qx[2],
    "unsqueeze(qx, 0)": lambda t: t.qx.unsqueeze(0),
    "add(qx, qx2)": lambda t: torch.add(t.qx, t.qx2),
    "add(qx, x2)": lambda t: torch.add(t.qx, t.x2),
    "mul(qx, qx2)": lambda t: torch.mul(t.qx, t.qx2),
    "cat([qx, qx2], 1)": lambda t: torch.cat([t.qx, t.qx2], 1),
    "stack([qx, qx2])": lambda t: torch.stack([t.qx, t.qx2]),
    "where(mask, qx, x2)": lambda t: torch.where(t.mask, t.qx, t.x2),
    "bmm(qx, qb)": lambda t: torch.bmm(t.qx, t.qb),
    "bmm(qx, b)": lambda t: torch.bmm(t.qx, t.b),
    "bmm(x, qb)": lambda t: torch.bmm(t.x, t.qb),
    "matmul(qx, qb)": lambda t: torch.matmul(t.qx, t.qb),
    "gelu(qx)": lambda t: F.gelu(t.qx),
    "silu(qx)": lambda t: F.silu(t.qx),
    "mean(qx, -1)": lambda t: torch.mean(t.qx, -1),
    "t(two)": lambda t: t.two.t(),
    "lt(qx, x2)": lambda t: torch.lt(t.qx, t.x2),
    "clone(qx)": lambda t: t.qx.clone(),
    "to(qx, other float dtype)": lambda t: t.qx.to(OTHER[t.x.dtype]),
    "split(qx, 2)[1]": lambda t: torch.split(t.qx, 2)[1],
    "layer_norm(qx, [8])": lambda t: F.layer_norm(t.qx, [8]),
    "max(qx)": lambda t: torch.max(t.qx),
    "expand(qx[:1], [4,6,8])": lambda t: t.qx[:1].expand(4, 6, 8),
}


class Tensors:
    """What the calls are made on, by the names of the golden index."""

    def __init__(self, case):
        qtype = quanto.qtypes[case.params["qtype"]]
        inputs = case.inputs
        self.x, self.x2, self.b = (inputs.get(name) for name in ("x", "x2", "b"))
        if "mask" in inputs:
            self.mask = inputs["mask"].bool()
        scale = inputs["scale"]
        self.qx = quanto.quantize_activation(self.x, qtype, scale)
        self.qx2 = quanto.quantize_activation(self.x2, qtype, scale)
        self.two = quanto.quantize_activation(self.x.reshape(24, 8), qtype, scale)
        if self.b is not None:
            self.qb = quanto.quantize_activation(self.b, qtype, quanto.absmax_scale(self.b, qtype))


PRODUCTS = ("bmm(qx, qb)", "matmul(qx, qb)")

known = golden.deviations("activations")
functions = [case for case in golden.cases("activations").values() if "returns" in case.raw]
compared = [case for case in functions if case.id not in known]


@golden.every("activations", "quantize_activation")
def test_quantize(case):
    qtype = quanto.qtypes[case.params["qtype"]]
    q = quanto.quantize_activation(case.inputs["x"], qtype, case.inputs["scale"])
    assert q.dtype == case.inputs["scale"].dtype
    assert q.axis is None
    assert torch.equal(q._data.view(torch.uint8), case.outputs["data"].view(torch.uint8))
    assert torch.equal(q.dequantize(), case.outputs["dequantized"])


@golden.every("activations", "absmax_scale")
def test_absmax_scale(case):
    qtype = quanto.qtypes[case.params["qtype"]]
    scale = quanto.absmax_scale(case.inputs["x"], qtype, case.params["axis"])
    assert scale.shape == case.outputs["scale"].shape
    assert ulps(scale, case.outputs["scale"]) <= SCALE_ULPS


def test_every_call_is_known():
    assert {case.call for case in functions} == set(CALLS)


def agree(case, result, expected):
    """Exact, but for what the table of tolerances names."""
    assert result.dtype == (torch.bool if case.call.startswith("lt") else expected.dtype)
    if case.call.startswith("lt"):
        assert torch.equal(result, expected.bool())  # stored as uint8
    elif case.call in PRODUCTS:
        if case.params["qtype"] == "qint8":
            assert ulps(result, expected) <= SCALE_PRODUCT_ULPS
        else:
            torch.testing.assert_close(result, expected)
    elif case.call.startswith("gelu"):
        torch.testing.assert_close(result, expected, **FUNCTION)
    else:
        assert torch.equal(result, expected)


@pytest.mark.parametrize("case", compared, ids=[case.id for case in compared])
def test_function(case):
    result, outputs = CALLS[case.call](Tensors(case)), case.outputs
    assert type(result).__name__ == case.raw["returns"]
    if isinstance(result, quanto.ActivationQBytesTensor):
        assert ulps(result._scale, outputs["result_scale"]) <= SCALE_ULPS
        assert torch.equal(result._data.view(torch.uint8), outputs["result_data"].view(torch.uint8))
        result = result.dequantize()
    agree(case, result, outputs["result"])


@golden.every("activations", "neg", expected="127")
def test_negative_of_the_lowest_code(case):
    lowest = case.outputs["result_data"] == -128  # the library's -(-128)
    assert lowest.any()
    result = torch.neg(Tensors(case).qx)
    assert (result._data[lowest] == 127).all()
    assert torch.equal(result._data[~lowest], case.outputs["result_data"][~lowest])
