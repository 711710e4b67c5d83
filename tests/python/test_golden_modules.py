# SPDX-License-Identifier: Apache-2.0
"""QLinear against optimum-quanto's: frozen weights, with and without quantized activations."""

import golden
import torch
from golden_layers import check_output, expected, layer_of, state
from torch import nn

import quanto

FROZEN = "QLinear.from_module(Linear, weights, activations); freeze(); forward(x)"
CODES_IN = "the same, forward(quantize_activation(x, activations, x_scale))"


def frozen(case):
    params = case.params
    layer = layer_of(case, params["in_features"], params["out_features"], bias=params["bias"])
    assert layer.weight_group_size == params["group_size"]
    layer.load_state_dict(state(case), strict=True)
    assert layer.frozen
    return layer


def compare(case, layer, x):
    theirs, codes = case.outputs["output"], case.outputs.get("output_data")
    with torch.no_grad():
        exact, bound = expected(layer, x, theirs.dtype)
        check_output(layer, layer(x), theirs, codes, exact, bound)


@golden.every("modules", FROZEN)
def test_frozen_output(case):
    compare(case, frozen(case), case.inputs["x"])


@golden.every("modules", FROZEN, expected="exact scales")
def test_small_scales(case):
    layer, x = frozen(case), case.inputs["x"]
    with torch.no_grad():
        exact, bound = expected(layer, x, x.dtype)
        check_output(layer, layer(x), exact.to(x.dtype), None, exact, bound)
    # Otherwise there is nothing to deviate from.
    error = (case.outputs["output"].double() - exact).abs()
    assert (error > bound + layer.output_scale.double()).any()


@golden.every("modules", CODES_IN)
def test_quantized_input_brings_its_own_scale(case):
    layer, kind = frozen(case), quanto.qtypes[case.params["activations"]]
    compare(case, layer, quanto.quantize_activation(case.inputs["x"], kind, case.inputs["x_scale"]))


@golden.every("modules", FROZEN)
def test_freezing_gives_the_same_state(case):
    params = case.params
    layer = layer_of(case, params["in_features"], params["out_features"], bias=params["bias"])
    layer.weight = nn.Parameter(case.inputs["float_weight"])
    layer.freeze()
    mine, theirs = layer.state_dict(), state(case)
    assert mine.keys() == theirs.keys()
    for name in theirs:
        assert mine[name].shape == theirs[name].shape, name
        assert mine[name].dtype == theirs[name].dtype, name
    again = layer_of(case, params["in_features"], params["out_features"], bias=params["bias"])
    again.load_state_dict(theirs)
    # A scale one rounding away moves a value by less than a step.
    step = {"qfloat8_e5m2": 2.0**13, "qfloat8_e4m3fn": 2.0**5, "qfloat8_e4m3fnuz": 2.0**4}
    largest = again.weight._scale.float().abs().amax() * step.get(layer.weight_qtype.name, 1)
    assert (layer.weight.dequantize() - again.weight.dequantize()).abs().amax() <= largest
