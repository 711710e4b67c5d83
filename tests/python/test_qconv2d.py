# SPDX-License-Identifier: Apache-2.0
"""QConv2d: every geometry against float64, its activations, and what it holds."""

import copy
import warnings

import pytest
import torch
from conv_oracle import convolved, expected
from frozen_models import every_scheme
from torch import nn

import quanto
from quanto import ActivationQBytesTensor, QConv2d, library

GEOMETRIES = {
    "plain": {},
    "padding": {"padding": 1},
    "paddings": {"padding": (2, 0)},
    "same": {"padding": "same"},
    "same, even kernel": {"padding": "same", "kernel_size": (2, 4), "dilation": (1, 3)},
    "valid": {"padding": "valid"},
    "stride": {"stride": (2, 3), "padding": 1},
    "dilation": {"dilation": (2, 1), "padding": 2},
    "groups": {"groups": 2, "stride": 2},
    "depthwise": {"groups": 4, "out_channels": 8, "padding": 1},
    "no bias": {"bias": False},
    "1x1": {"kernel_size": 1},
    "reflect": {"padding": (1, 2), "padding_mode": "reflect"},
    "replicate": {"padding": 2, "padding_mode": "replicate", "stride": 2},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "circular, same": {"padding": "same", "padding_mode": "circular", "kernel_size": 4},
    "grouped scales": {"in_channels": 64, "padding": 1},
}
every_geometry = pytest.mark.parametrize("geometry", list(GEOMETRIES))


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel")
        yield


def case(geometry="padding", scheme="int8", dtype=torch.float32, **options):
    torch.manual_seed(3)
    sizes = {"in_channels": 4, "out_channels": 6, "kernel_size": 3}
    conv = nn.Conv2d(**{**sizes, **GEOMETRIES[geometry]}, dtype=dtype)
    layer = QConv2d.from_module(conv, weights=scheme, **options)
    return conv, layer, torch.randn(3, conv.in_channels, 9, 8, dtype=dtype)


def calibrated(layer, conv, x):
    layer.input_scale.copy_(library.absmax_scale(x, "qint8", None))
    layer.output_scale.copy_(library.absmax_scale(conv(x).detach(), "qint8", None))
    return layer


def values(x, scale):
    """Those of x's int8 codes."""
    codes = library.quantize_symmetric(x.contiguous(), torch.int8, None, scale)
    return library.dequantize_symmetric(codes, None, scale)


def check(layer, output, x):
    exact, bound = expected(layer, x)
    assert output.shape == exact.shape
    assert ((output.detach().double() - exact).abs() <= bound).all()


@every_geometry
@every_scheme
def test_output_before_and_after_freezing(geometry, scheme):
    _, layer, x = case(geometry, scheme)
    # One image has fewer positions, which may take another kernel than the batch.
    images = [x, x[0]]
    before = [layer(image) for image in images]
    for image, output in zip(images, before, strict=True):
        check(layer, output, image)
    layer.freeze()
    with torch.no_grad():
        for image, output in zip(images, before, strict=True):
            assert torch.equal(layer(image), output.detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@every_scheme
def test_half_precision(dtype, scheme):
    _, layer, x = case("grouped scales", scheme, dtype)
    layer.freeze()
    output = layer(x)
    assert output.dtype == dtype
    check(layer, output, x)


def test_the_group_size_is_that_of_one_output():
    conv, layer, _ = case("grouped scales", "int4")
    assert layer.weight_group_size == 96  # divides 64 * 3 * 3, as 128 does not
    assert QConv2d.from_module(conv, "int4", group_size=64).weight_group_size == 64
    assert case("groups", "int4")[1].weight_group_size is None


@every_scheme
def test_memory_formats(scheme):
    _, layer, x = case(scheme=scheme)
    layer.freeze()
    expected = layer(x)
    assert torch.equal(layer(x.to(memory_format=torch.channels_last)), expected)
    layer.to(memory_format=torch.channels_last)
    assert torch.equal(layer(x.to(memory_format=torch.channels_last)), expected)
    assert torch.equal(layer(x.transpose(2, 3).contiguous().transpose(2, 3)), expected)


def test_weights_in_channels_last():
    conv, _, x = case()
    expected = QConv2d.from_module(conv, "int4")(x)
    conv.to(memory_format=torch.channels_last)
    layer = QConv2d.from_module(conv, "int4")
    assert torch.equal(layer(x), expected)
    layer.freeze()
    assert torch.equal(layer(x), expected)


@every_scheme
def test_nothing_dense_is_kept(scheme):
    conv, layer, _ = case("grouped scales", scheme)
    layer.freeze()
    dense = conv.weight.numel() * 4
    held = sum(t.nbytes for t in layer.state_dict().values())
    assert held < dense / 2
    attributes = [t for t in vars(layer).values() if isinstance(t, torch.Tensor)]
    assert not attributes


@every_geometry
def test_static_activations(geometry):
    conv, layer, x = case(geometry, activations="int8")
    calibrated(layer, conv, x)
    layer.quantizes_output = False
    with torch.no_grad():
        check(layer, layer(x), values(x, layer.input_scale))
        codes = quanto.quantize_activation(x, quanto.qint8, layer.input_scale)
        check(layer, layer(codes), codes.dequantize())
        layer.quantizes_input = False
        check(layer, layer(x), x)


@every_geometry
@pytest.mark.parametrize("activations", ["int8", "float8"])
def test_the_output_is_the_float_one_quantized(geometry, activations):
    conv, layer, x = case(geometry, activations=activations)
    calibrated(layer, conv, x)
    with torch.no_grad():
        output = layer(x)
        layer.quantizes_output = False
        exact = quanto.quantize_activation(layer(x), layer.activation_qtype, layer.output_scale)
    assert isinstance(output, ActivationQBytesTensor)
    assert output.qtype is layer.activation_qtype
    assert output.equal(exact)
    assert output.shape == conv(x).shape


def test_without_quantized_input_the_output_still_is():
    conv, layer, x = case(activations="int8")
    calibrated(layer, conv, x).quantizes_input = False
    with torch.no_grad():
        output = layer(x)
        layer.quantizes_output = False
        exact = quanto.quantize_activation(layer(x), quanto.qint8, layer.output_scale)
    assert output.equal(exact)


@every_geometry
@pytest.mark.parametrize("unbatched", [False, True])
def test_dynamic_activations_have_a_scale_for_each_image(geometry, unbatched):
    _, layer, x = case(geometry, activations="int8", dynamic=True)
    x = x * torch.tensor([1.0, 10.0, 100.0]).reshape(-1, 1, 1, 1)
    images = [values(image, library.absmax_scale(image, "qint8", None)) for image in x]
    with torch.no_grad():
        if unbatched:
            check(layer, layer(x[1]), images[1])
        else:
            check(layer, layer(x), torch.stack(images))


@every_geometry
@pytest.mark.parametrize("activations", [None, "int8"])
def test_gradients_are_those_of_the_values(geometry, activations):
    conv, layer, x = case(geometry, "int4", activations=activations)
    if activations:
        calibrated(layer, conv, x)
    x.requires_grad_()
    output = layer(x)
    g = torch.randn(output.shape)
    (output.dequantize() if activations else output).backward(g)
    used = values(x.detach(), layer.input_scale) if activations else x.detach()
    tensors = {"x": used, "weight": layer.qweight.detach().dequantize(), "bias": layer.bias}
    doubles = {n: t.detach().double() for n, t in tensors.items() if t is not None}
    doubles = {name: t.requires_grad_() for name, t in doubles.items()}
    exact = convolved(layer, doubles["x"], doubles["weight"], doubles.get("bias"))
    exact.backward(g.double())
    for name, mine in {"x": x, "weight": layer.weight, "bias": layer.bias}.items():
        if mine is not None:
            torch.testing.assert_close(mine.grad.double(), doubles[name].grad, atol=1e-5, rtol=1e-5)


def test_gradients_of_quantized_input_and_of_frozen_layers():
    conv, layer, x = case(activations="int8")
    calibrated(layer, conv, x).freeze()
    x.requires_grad_()
    codes = quanto.quantize_activation(x, quanto.qint8, layer.input_scale)
    output = layer(codes).dequantize()
    output.sum().backward()
    weight = layer.weight.dequantize()
    exact = torch.nn.grad.conv2d_input(x.shape, weight, torch.ones_like(output), padding=1)
    torch.testing.assert_close(x.grad, exact)
    assert layer.weight.grad is None
    assert layer.bias.grad is not None


@pytest.mark.parametrize("streamline", [True, False])
def test_calibration_sets_both_scales(streamline):
    _, layer, x = case(activations="int8")
    model = nn.Sequential(layer, nn.ReLU(), QConv2d(6, 2, 1, weights="int8", activations="int8"))
    with torch.no_grad(), quanto.Calibration(streamline=streamline):
        model(x)
    assert layer.input_scale == library.absmax_scale(x, "qint8", None)
    layer.quantizes_output = False
    with torch.no_grad():
        assert layer.output_scale == library.absmax_scale(layer(x), "qint8", None)
    assert model[2].quantizes_output != streamline


def test_uncalibrated_layers_say_so():
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3))
    quanto.quantize(model, "int8", activations="int8")
    x = torch.randn(1, 4, 9, 9)
    with pytest.warns(UserWarning, match="never calibrated") as seen:
        model(x)
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(x)


@every_scheme
def test_state_and_copies(scheme):
    _, layer, x = case("grouped scales", scheme, activations="int8", dynamic=True)
    layer.freeze()
    _, fresh, _ = case("grouped scales", scheme, activations="int8", dynamic=True)
    fresh.load_state_dict(layer.state_dict(), strict=True)
    for other in (fresh, copy.deepcopy(layer)):
        assert torch.equal(other(x), layer(x))
    half = copy.deepcopy(layer).to(torch.bfloat16)
    assert half(x.bfloat16()).dtype == torch.bfloat16


def test_one_output_channel():
    layer = QConv2d.from_module(nn.Conv2d(4, 1, 3), weights="int8")
    x = torch.randn(1, 4, 5, 5)
    layer.freeze()
    check(layer, layer(x), x)


def test_autocast():
    _, layer, x = case()
    layer.freeze()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


class Halved(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) / 2


class Padded(nn.Conv2d):
    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input + 1, weight, bias)


@pytest.mark.parametrize("kind", [Halved, Padded])
def test_convolutions_with_a_forward_of_their_own_are_left(kind):
    model = nn.Sequential(kind(4, 4, 1), nn.Conv2d(4, 4, 1))
    with pytest.warns(UserWarning, match=rf"0 \({kind.__name__} has a forward of its own\)"):
        quanto.quantize(model, "int8")
    assert type(model[0]) is kind
    assert isinstance(model[1], QConv2d)


def test_padding_mode_may_change_afterwards():
    """As image tilers do to make the layers of a finished model circular."""
    _, layer, x = case("padding")
    layer.freeze()
    layer.padding_mode = "circular"
    check(layer, layer(x), x)


@every_scheme
def test_compiled(scheme):
    _, layer, x = case(scheme=scheme)
    layer.freeze()
    with torch.no_grad():
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(x), layer(x))
