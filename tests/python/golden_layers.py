# SPDX-License-Identifier: Apache-2.0
"""Linear layers of the golden set: how they are made, and what their results may be."""

import torch
from tolerances import GOLDEN_CODES, lost_by_dense_weights, sum_bound
from torch import nn
from torch.nn import functional as F

import quanto
from quanto import library


def state(case):
    inputs = case.inputs.items()
    return {name.removeprefix("state."): t for name, t in inputs if name.startswith("state.")}


def layer_of(case, in_features, out_features, *, bias):
    linear = nn.Linear(in_features, out_features, bias=bias, dtype=case.inputs["x"].dtype)
    params = case.params
    return quanto.QLinear.from_module(linear, params["weights"], params.get("activations"))


def magnitudes(weight):
    """|scale * q| + |shift|: what the library rounds to its dtype before it multiplies."""
    values = weight.dequantize().double()
    if weight.qtype.bits == 8:
        return values.abs()
    shift = weight._shift.double().flatten()
    shifts = shift.repeat_interleave(values.numel() // shift.numel()).view(values.shape)
    return (values + shifts).abs() + shifts.abs()


def values_taken(layer, x):
    """The input that the layer computes with, in float64."""
    if layer.activation_qtype is not None and not isinstance(x, quanto.QTensor):
        x = quanto.quantize_activation(x, layer.activation_qtype, layer.input_scale)
    if isinstance(x, quanto.QTensor):
        return x._data.double() * x._scale.double()
    return x.double()


def expected(layer, x, dtype):
    """The exact output before it is quantized, and how far any library's may be from it.

    Beside the sum's own roundings, dequantized operands lose up to three in `dtype` each.
    """
    weight = layer.qweight.detach()
    bias = None if layer.bias is None else layer.bias.detach().double()
    taken = values_taken(layer, x)
    exact = F.linear(taken, weight.dequantize().double(), bias)
    absolute = None if bias is None else bias.abs()
    terms = F.linear(taken.abs(), magnitudes(weight), absolute)
    return exact, sum_bound(exact, terms, taken.shape[-1], dtype) + 2 * lost_by_dense_weights(
        terms, dtype
    )


def check_output(layer, mine, theirs, their_codes, exact, bound):
    """Floats within the bound; codes between those of the bound's ends, as rounding is monotone."""
    kind = layer.activation_qtype
    if kind is None:
        for output in (mine, theirs):
            assert ((output.double() - exact).abs() <= bound).all()
        return
    assert isinstance(mine, quanto.ActivationQBytesTensor)
    assert mine.qtype is kind
    assert torch.equal(mine._scale, layer.output_scale)
    low, high = (
        library.quantize_symmetric(
            end.to(theirs.dtype).contiguous(), kind.dtype, None, layer.output_scale
        ).float()
        for end in (exact - bound, exact + bound)
    )
    found = [mine._data] if their_codes is None else [mine._data, their_codes]
    for data in found:
        assert data.dtype == kind.dtype
        assert ((low <= data.float()) & (data.float() <= high)).all()
    if their_codes is not None:
        same = (mine._data.float() == their_codes.float()).double().mean()
        assert same >= GOLDEN_CODES[theirs.dtype]
