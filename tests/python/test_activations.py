# SPDX-License-Identifier: Apache-2.0
"""Quantized activations: the tensor, and linear layers that take and return them."""

import copy
import io
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import quanto
from quanto import ActivationQBytesTensor, QLinear, quantize_activation

TYPES = ["qint8", "qfloat8_e4m3fn", "qfloat8_e4m3fnuz", "qfloat8_e5m2"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]

every_type = pytest.mark.parametrize("name", TYPES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def sample(*size, dtype=torch.float32, seed=3):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def quantized(x, name="qint8"):
    qtype = quanto.qtypes[name]
    return quantize_activation(x, qtype, quanto.absmax_scale(x, qtype))


def layer(name="qint8", *, dynamic=False, dtype=torch.float32, weights="qint8", x=None):
    """A calibrated QLinear of 32 to 16 features."""
    torch.manual_seed(0)
    module = QLinear.from_module(
        nn.Linear(32, 16, dtype=dtype), weights, quanto.qtypes[name], dynamic=dynamic
    )
    with quanto.Calibration(), torch.no_grad():
        module(sample(8, 32, dtype=dtype) if x is None else x)
    return module


@every_type
@every_dtype
def test_codes_and_values(name, dtype):
    x = sample(4, 32, dtype=dtype)
    q = quantized(x, name)
    assert (q.dtype, q.shape, q.axis, q.qtype) == (dtype, x.shape, None, quanto.qtypes[name])
    assert (q._data.dtype, q._scale.shape) == (quanto.qtypes[name].dtype, ())
    assert torch.equal(q.dequantize(), q._data.to(dtype) * q._scale)


def test_views_keep_the_codes():
    x = sample(4, 6, 8)
    q, values = quantized(x), quantized(x).dequantize()
    for view in (
        lambda t: t.unbind(1)[2],
        lambda t: t.chunk(3, 1)[1],
        lambda t: t.flatten(1),
        lambda t: t.reshape(8, 24),
        lambda t: t.transpose(0, 1).reshape(6, 32),
        lambda t: t[..., None].squeeze(-1),
        lambda t: t.movedim(0, 2).contiguous(),
        lambda t: t.diagonal(0, 1, 2),
        lambda t: t.unfold(2, 4, 4),
    ):
        assert isinstance(view(q), ActivationQBytesTensor)
        assert torch.equal(view(q).dequantize(), view(values))
        assert view(q).stride() == view(q)._data.stride()


@pytest.mark.parametrize("factor", [-1.0, torch.tensor(-2.0), torch.ones(6, 8)], ids=str)
def test_factors_that_scales_cannot_take_fall_back(factor):
    q = quantized(sample(4, 6, 8))
    result = q * factor
    assert type(result) is torch.Tensor
    assert torch.equal(result, q.dequantize() * factor)


def test_other_scales_fall_back():
    q, other = quantized(sample(4, 8)), quantized(sample(4, 8, seed=4) * 7)
    for function in (torch.lt, lambda a, b: torch.cat([a, b]), lambda a, b: torch.stack([a, b])):
        expected = function(q.dequantize(), other.dequantize())
        result = function(q, other)
        assert type(result) is torch.Tensor
        assert torch.equal(result, expected)


def test_joins_of_any_number():
    q = quantized(sample(4, 8))
    for function in (torch.cat, torch.stack):
        result = function([q, q, q])
        assert isinstance(result, ActivationQBytesTensor)
        assert torch.equal(result.dequantize(), function([q.dequantize()] * 3))


def test_writes_are_not_lost():
    x = sample(4, 8)
    q = quantized(x)
    q += 100
    step = q._scale
    assert ((q.dequantize() - (quantized(x).dequantize() + 100)).abs() <= step / 2 * 1.001).all()
    q = quantized(x)
    q[1] = 0.0
    assert (q.dequantize()[1] == 0).all()
    assert (q.dequantize()[0] != 0).any()
    q = quantized(x)
    values = q.dequantize().relu()
    F.relu(q, inplace=True)
    assert torch.equal(q.dequantize(), values)
    q[0].zero_()
    assert (q.dequantize()[0] == 0).all()


def test_a_write_to_a_view_must_fit_its_scale():
    q = quantized(sample(4, 8))
    with pytest.raises(ValueError, match="expected values that fit the scale"):
        q[0].add_(1000)


def test_copy():
    q, target = quantized(sample(4, 8)), quantized(sample(4, 8, seed=9))
    target.copy_(q)
    assert target.equal(q)
    target._data.zero_()
    assert q._data.any()
    plain = torch.empty(4, 8)
    plain.copy_(q)
    assert torch.equal(plain, q.dequantize())


def test_equal():
    q = quantized(sample(4, 8))
    assert torch.equal(q, q.clone())
    assert not torch.equal(q, q * 2)
    assert not torch.equal(q, q.dequantize())


@every_type
def test_pickle_and_deepcopy(name):
    q = quantized(sample(4, 8), name)
    q.src_module = object()
    buffer = io.BytesIO()
    torch.save(q, buffer)
    buffer.seek(0)
    for twin in (torch.load(buffer, weights_only=True), copy.deepcopy(q)):
        assert twin.equal(q)
        assert not hasattr(twin, "src_module")


def test_gradients_pass_straight():
    x, y = sample(4, 8).requires_grad_(), sample(4, 8, seed=5)
    scale = quanto.absmax_scale(x.detach())
    q = quantize_activation(x, quanto.qint8, scale)
    (torch.relu(q.view(8, 4)).reshape(4, 8) * y).sum().backward()
    assert torch.equal(x.grad, y * (q.detach().dequantize() > 0))
    x.grad = None
    torch.softmax(quantize_activation(x, quanto.qint8, scale), -1).dequantize()[0].sum().backward()
    assert x.grad.abs().max() < 1e-2  # probabilities add up to 1


@pytest.mark.parametrize("scale", [torch.ones(1), torch.ones(2)], ids=["one", "two"])
def test_scales_are_scalars(scale):
    with pytest.raises(ValueError, match="quantize_activation: expected a 0-d scale, got shape"):
        quantize_activation(torch.ones(4, 8), quanto.qint8, scale)


# Linear layers


@every_type
@every_dtype
@pytest.mark.parametrize("weights", ["qint8", "qint4", "qfloat8_e4m3fn"])
@torch.no_grad()
def test_a_layer_is_its_steps(name, dtype, weights):
    """One operator, whatever the sides: the same codes as quantizing and multiplying apart."""
    x = sample(8, 32, dtype=dtype)
    module = layer(name, dtype=dtype, weights=weights)
    module.freeze()
    inputs = quantize_activation(x, module.activation_qtype, module.input_scale)
    product = F.linear(inputs, module.weight, module.bias)
    expected = quantize_activation(product, module.activation_qtype, module.output_scale)
    for given in (x, inputs):
        result = module(given)
        assert isinstance(result, ActivationQBytesTensor)
        assert result.equal(expected)
    module.disable_output_quantization()
    assert torch.equal(module(x), product)
    assert (list(module._quantize_hooks), module.quantizes_output) == (["input"], False)


@torch.no_grad()
def test_built_directly_it_quantizes_the_output_only():
    module = QLinear(32, 16, weights="int8", activations="int8")
    assert list(module._quantize_hooks) == ["output"]
    x = sample(8, 32)
    with quanto.Calibration():
        module(x)
    product = F.linear(x, module.qweight, module.bias)
    expected = quantize_activation(product, quanto.qint8, module.output_scale)
    assert module(x).equal(expected)
    both = QLinear(32, 16, weights="int8", activations="int8", quantize_input=True)
    assert list(both._quantize_hooks) == ["input", "output"]


@every_type
@torch.no_grad()
def test_dynamic_scales_are_per_token(name):
    module = layer(name, dynamic=True)
    x = sample(8, 32) * torch.logspace(-3, 3, 8)[:, None]
    result = module(x)
    assert type(result) is torch.Tensor
    assert module.input_scale == module.output_scale == 1
    kind = quanto.qtypes[name]
    for row, got in zip(x, result, strict=True):
        one = quantize_activation(row[None], kind, quanto.absmax_scale(row, kind))
        torch.testing.assert_close(got[None], F.linear(one, module.qweight, module.bias))


def test_dynamic_needs_a_type():
    with pytest.raises(ValueError, match="expected a type for activations with dynamic, got None"):
        QLinear.from_module(nn.Linear(4, 4), "qint8", dynamic=True)


def test_a_wrong_type_of_input_is_refused():
    module, q = layer("qint8"), quantized(sample(8, 32), "qfloat8_e4m3fn")
    with pytest.raises(ValueError, match="expected an input quantized to qint8, got qfloat8_e4m3f"):
        module(q)
    with quanto.Calibration(), pytest.raises(ValueError, match="expected an input quantized"):
        module(q)


@torch.no_grad()
def test_a_weight_only_layer_multiplies_codes():
    module = QLinear.from_module(nn.Linear(32, 16), "qint8")
    q = quantized(sample(8, 32))
    torch.testing.assert_close(
        module(q), F.linear(q.dequantize(), module.qweight.dequantize(), module.bias)
    )


@torch.no_grad()
def test_autocast():
    module = layer()
    module.quantizes_output = False
    with torch.autocast("cpu", torch.bfloat16):
        result = module(sample(8, 32))
        assert result.dtype == torch.bfloat16
        assert isinstance(layer()(sample(8, 32)), ActivationQBytesTensor)
    torch.testing.assert_close(result.float(), module(sample(8, 32)), rtol=2e-2, atol=5e-2)


def test_dtypes_must_agree():
    with pytest.raises(RuntimeError, match="expected input of the weight's dtype"):
        layer()(sample(8, 32, dtype=torch.float16))
    with pytest.raises(RuntimeError, match="expected input of the weight's dtype"):
        layer()(quantized(sample(8, 32, dtype=torch.float16)))


def test_scales_may_be_kept_in_float32():
    module = layer(dtype=torch.bfloat16)
    x = sample(8, 32, dtype=torch.bfloat16)
    expected = module(x)
    module.input_scale, module.output_scale = (
        module.input_scale.float(),
        module.output_scale.float(),
    )
    result = module(x)
    assert result.dtype == torch.bfloat16
    assert result.equal(expected)


class Scaled(nn.Linear):
    """A module of somebody else, and its quantized counterpart written as for optimum-quanto."""

    def forward(self, input):
        return 2 * super().forward(input)


class QScaled(quanto.QModuleMixin, nn.Linear):
    @classmethod
    def qcreate(cls, module, weights, activations=None, optimizer=None, device=None):
        return cls(
            module.in_features,
            module.out_features,
            device=device,
            weights=weights,
            activations=activations,
            optimizer=optimizer,
            quantize_input=True,
        )

    def forward(self, input):
        assert isinstance(input, ActivationQBytesTensor) == (self.activation_qtype is not None)
        return 2 * F.linear(input, self.qweight, self.bias)


@torch.no_grad()
def test_other_modules_have_their_activations_quantized():
    module = QScaled.from_module(Scaled(32, 16), "qint8", "qint8")
    x = sample(8, 32)
    with quanto.Calibration():
        module(x)
    assert module.input_scale != 1
    assert module.output_scale != 1
    inputs = quantize_activation(x, quanto.qint8, module.input_scale)
    product = 2 * F.linear(inputs, module.qweight, module.bias)
    expected = quantize_activation(product, quanto.qint8, module.output_scale)
    assert module(x).equal(expected)
    again = QScaled.from_module(module, "qint8", "qint8")
    assert again(x).equal(expected)
    module.disable_output_quantization()
    assert torch.equal(module(x), product)
    assert type(QScaled.from_module(Scaled(32, 16), "qint8")(x)) is torch.Tensor
    with pytest.raises(ValueError, match="QScaled: expected static activations, got dynamic"):
        QScaled.from_module(Scaled(32, 16), "qint8", "qint8", dynamic=True)


@torch.no_grad()
def test_an_uncalibrated_model_warns_once():
    def model():
        net = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
        quanto.quantize(net, "qint8", "qint8")
        return net

    for _ in range(2):  # every model warns for itself
        net = model()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            net(sample(8, 32))
            net(sample(8, 32))
        assert ["never calibrated" in str(warning.message) for warning in seen] == [True]
    net = model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quanto.Calibration():
            net(sample(8, 32))
        net(sample(8, 32))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("trained", [False, True], ids=["inference", "training"])
def test_compile(dynamic, trained):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
    quanto.quantize(net, "qint8", "qint8", dynamic=dynamic)
    x = sample(8, 32)
    with quanto.Calibration(streamline=False):
        net(x)

    def values(x):
        # A compiled function cannot return a quantized tensor that needs a gradient: torch takes
        # the gradient to be of its type.
        result = net(x)
        return result if dynamic else result.dequantize()

    compiled = torch.compile(values, backend="aot_eager", fullgraph=True)
    if not trained:
        quanto.freeze(net)
        with torch.no_grad():
            assert torch.equal(compiled(x), values(x))
            result = torch.compile(net, backend="aot_eager", fullgraph=True)(x)
            assert type(result) is type(net(x))
        return
    values(x).sum().backward()
    expected = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    compiled(x).sum().backward()
    for parameter, grad in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)
