# SPDX-License-Identifier: Apache-2.0
"""QLayerNorm: a quantized output, and nothing else that differs from the LayerNorm."""

import copy

import pytest
import torch
from torch import nn

import quanto
from quanto import ActivationQBytesTensor, QLayerNorm, library

INPUT = torch.randn(4, 6, 32, generator=torch.Generator().manual_seed(2))


def norm_of(activations="int8", **options):
    torch.manual_seed(1)
    norm = nn.LayerNorm(32, **options)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    layer = QLayerNorm.from_module(norm, activations=activations)
    layer.output_scale.copy_(library.absmax_scale(norm(INPUT).detach(), "qint8", None))
    return norm, layer


@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 0.1}],
    ids=["affine", "no bias", "no weight", "eps"],
)
@pytest.mark.parametrize("activations", ["int8", "float8"])
def test_the_output_is_that_of_the_norm_quantized(options, activations):
    norm, layer = norm_of(activations, **options)
    with torch.no_grad():
        output = layer(INPUT)
        exact = quanto.quantize_activation(norm(INPUT), layer.activation_qtype, layer.output_scale)
    assert isinstance(output, ActivationQBytesTensor)
    assert output.equal(exact)


def test_quantized_input_is_taken():
    norm, layer = norm_of()
    codes = quanto.quantize_activation(INPUT, quanto.qint8, torch.tensor(0.03))
    with torch.no_grad():
        exact = quanto.quantize_activation(
            norm(codes.dequantize()), quanto.qint8, layer.output_scale
        )
        assert layer(codes).equal(exact)


def test_nothing_but_the_output_is_quantized():
    norm, layer = norm_of()
    assert (layer.quantizes_input, layer.quantizes_output) == (False, True)
    assert layer.weight is norm.weight
    assert layer.weight_qtype is layer.qweight is layer.weight_group_size is None
    model = nn.Sequential(layer, nn.Linear(32, 4))
    quanto.quantize(model, "int4", include="1")
    quanto.freeze(model)
    assert layer.weight is norm.weight
    assert not layer.frozen
    entry = quanto.quantization_map(model)["0"]
    assert (entry["weights"], entry["activations"]) == ("none", "qint8")


def test_a_float_output_is_that_of_the_norm():
    norm, layer = norm_of()
    layer.disable_output_quantization()
    assert torch.equal(layer(INPUT), norm(INPUT))


def test_there_is_one_only_for_static_activations():
    norm = nn.LayerNorm(4)
    assert quanto.quantize_module(norm, weights="int8") is None
    assert quanto.quantize_module(norm, weights="int8", activations="int8", dynamic=True) is None
    assert type(quanto.quantize_module(norm, weights="int8", activations="int8")) is QLayerNorm


def test_gradients_pass_straight_through():
    norm, layer = norm_of()
    mine, theirs = (INPUT.clone().requires_grad_() for _ in range(2))
    g = torch.randn(INPUT.shape)
    layer(mine).dequantize().backward(g)
    weight_grad = layer.weight.grad.clone()
    norm.zero_grad()
    norm(theirs).backward(g)
    assert torch.equal(mine.grad, theirs.grad)
    assert torch.equal(weight_grad, norm.weight.grad)


class Doubled(nn.LayerNorm):
    def forward(self, input):
        return 2 * super().forward(input)


def test_norms_with_a_forward_of_their_own_are_left():
    model = nn.Sequential(Doubled(4), nn.LayerNorm(4))
    with pytest.warns(UserWarning, match=r"0 \(Doubled has a forward of its own\)"):
        quanto.quantize(model, activations="int8")
    assert type(model[0]) is Doubled
    assert type(model[1]) is QLayerNorm


@pytest.mark.parametrize("affine", [True, False])
def test_reloading(affine):
    def float_model():
        return nn.Sequential(nn.LayerNorm(32, elementwise_affine=affine), nn.Linear(32, 8))

    model = float_model()
    quanto.quantize(model, "int8", activations="int8")
    with torch.no_grad(), quanto.Calibration(streamline=False):
        model(INPUT)
    quanto.freeze(model)
    with torch.device("meta"):
        other = float_model()
    quanto.requantize(other, model.state_dict(), quanto.quantization_map(model))
    with torch.no_grad():
        for twin in (other, copy.deepcopy(model)):
            assert type(twin[0]) is QLayerNorm
            assert twin[0](INPUT).equal(model[0](INPUT))
            assert twin(INPUT).equal(model(INPUT))
