# SPDX-License-Identifier: Apache-2.0
"""QConv2d and QLayerNorm against optimum-quanto's: frozen outputs, codes and gradients."""

import golden
import pytest
import torch
from conv_oracle import convolved, expected
from tolerances import layer_norm_bound, sum_bound
from torch import nn
from torch.nn import functional as F

import quanto
from quanto import library

FROZEN = "QConv2d.from_module(Conv2d, weights, activations); freeze(); forward(x)"
UNFROZEN = "QConv2d.from_module(Conv2d, weights, activations), not frozen; forward; backward(g)"
NORM = "QLayerNorm.from_module(LayerNorm, activations); forward(x)"


def state(case):
    inputs = case.inputs.items()
    return {name.removeprefix("state."): t for name, t in inputs if name.startswith("state.")}


def layer_of(case):
    """The predecessor never quantizes the input of a convolution; we do unless told not to."""
    params = case.params
    conv = nn.Conv2d(**params["conv"], dtype=getattr(torch, params["dtype"]))
    layer = quanto.QConv2d.from_module(conv, params["weights"], params["activations"])
    assert layer.quantizes_input == (params["activations"] is not None)
    layer.quantizes_input = False
    assert layer.weight_group_size == params["group_size"]
    return layer


def check_output(layer, case, mine, exact, bound):
    """Floats within the bound; codes between those of the bound's ends, as rounding is monotone."""
    theirs = case.outputs["output"]
    kind = layer.activation_qtype
    if kind is None:
        assert ((mine.double() - exact).abs() <= bound).all()
        assert ((theirs.double() - exact).abs() <= bound).all()
        return
    assert isinstance(mine, quanto.ActivationQBytesTensor)
    assert mine.qtype is kind
    scale = layer.output_scale
    assert torch.equal(mine._scale, scale)
    ends = [
        library.quantize_symmetric(end.to(theirs.dtype).contiguous(), kind.dtype, None, scale)
        for end in (exact - bound, exact + bound)
    ]
    low, high = (end.float() for end in ends)
    codes = case.outputs.get("output_data", None)
    for data in (mine._data, *([] if codes is None else [codes])):
        assert data.dtype == kind.dtype
        assert ((low <= data.float()) & (data.float() <= high)).all()
    # In float32 few results lie so near a tie that the last bit decides.
    if codes is not None and theirs.dtype == torch.float32:
        assert (mine._data.float() == codes.float()).double().mean() > 0.9


@golden.every("modules", FROZEN)
def test_frozen_output(case):
    layer, x = layer_of(case), case.inputs["x"]
    layer.load_state_dict(state(case), strict=True)
    assert layer.frozen
    with torch.no_grad():
        check_output(layer, case, layer(x), *expected(layer, x))


@golden.every("modules", FROZEN)
def test_freezing_gives_the_same_state(case):
    layer = layer_of(case)
    layer.weight = nn.Parameter(case.inputs["float_weight"])
    layer.freeze()
    theirs = state(case)
    mine = layer.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert mine[name].shape == tensor.shape, name
        assert mine[name].dtype == tensor.dtype, name
    again = layer_of(case)
    again.load_state_dict(theirs)
    # A scale one rounding away moves a value by less than a step.
    step = {"qfloat8_e5m2": 2.0**13, "qfloat8_e4m3fn": 2.0**5, "qfloat8_e4m3fnuz": 2.0**4}
    largest = again.weight._scale.float().abs().amax() * step.get(layer.weight_qtype.name, 1)
    assert (layer.weight.dequantize() - again.weight.dequantize()).abs().amax() <= largest


@golden.every("qat", UNFROZEN)
def test_gradients_before_freezing(case):
    inputs, outputs = case.inputs, case.outputs
    layer, g = layer_of(case), inputs["g"]
    layer.weight = nn.Parameter(inputs["weight"].clone())
    layer.bias = nn.Parameter(inputs["bias"].clone())
    if "output_scale" in inputs:
        layer.output_scale.copy_(inputs["output_scale"])
    x = inputs["x"].clone().requires_grad_()
    output = layer(x)
    with torch.no_grad():
        check_output(layer, case, output.detach(), *expected(layer, x.detach()))
    output.backward(g)
    images, _, height, width = g.shape
    found = {"x_grad": x.grad, "weight_grad": layer.weight.grad, "bias_grad": layer.bias.grad}
    counts = {
        "x_grad": layer.weight[:, 0].numel() // layer.groups,
        "weight_grad": images * height * width,
        "bias_grad": images * height * width,
    }
    weight = layer.qweight.detach().dequantize()
    exact, terms = (
        gradients(layer, *(change(t.detach().double()) for t in (x, weight, layer.bias, g)))
        for change in (torch.clone, torch.abs)
    )
    for name, mine in found.items():
        bound = sum_bound(exact[name], terms[name], counts[name], x.dtype)
        for tensor in (mine, outputs[name]):
            assert ((tensor.double() - exact[name]).abs() <= bound).all(), name


def gradients(layer, x, weight, bias, g):
    tensors = [t.clone().requires_grad_() for t in (x, weight, bias)]
    found = torch.autograd.grad(convolved(layer, *tensors), tensors, g)
    return dict(zip(("x_grad", "weight_grad", "bias_grad"), found, strict=True))


def norm_of(case):
    params = case.params
    norm = nn.LayerNorm(
        params["normalized_shape"],
        params["eps"],
        params["affine"],
        dtype=getattr(torch, params["dtype"]),
    )
    return quanto.QLayerNorm.from_module(norm, activations=params["activations"])


@golden.every("modules", NORM)
def test_norm_output(case):
    layer, x = norm_of(case), case.inputs["x"]
    assert not layer.quantizes_input
    layer.load_state_dict(state(case), strict=True)
    values = x.double()
    weight, bias = (None if t is None else t.detach().double() for t in (layer.weight, layer.bias))
    exact = F.layer_norm(values, layer.normalized_shape, weight, bias, layer.eps)
    deviation = (values.var(-1, keepdim=True, unbiased=False) + layer.eps).sqrt()
    terms = (values.abs() + values.abs().mean(-1, keepdim=True)) / deviation
    if weight is not None:
        terms = terms * weight.abs() + bias.abs()
    with torch.no_grad():
        check_output(layer, case, layer(x), exact, layer_norm_bound(x, exact, terms, x.dtype))


@pytest.mark.parametrize("affine", [True, False])
def test_norm_state_has_tensors_only(affine, tmp_path):
    """The predecessor writes None for a weight that is not there, which safetensors refuses."""
    layer = quanto.QLayerNorm.from_module(
        nn.LayerNorm(8, elementwise_affine=affine), activations="qint8"
    )
    found = layer.state_dict()
    assert set(found) == {*(("weight", "bias") if affine else ()), "input_scale", "output_scale"}
    quanto.safe_save(found, tmp_path / "norm.safetensors")
    layer.load_state_dict({**found, "weight": found.get("weight")}, strict=True)
