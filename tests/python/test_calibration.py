# SPDX-License-Identifier: Apache-2.0
"""Calibration: scales, momentum, what streamlining leaves quantized, runs within runs."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import quanto
from quanto import ActivationQBytesTensor, Calibration, calibrate


def batches(count=4, seed=0):
    return torch.randn(count, 8, 32, generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(32, 32), nn.Linear(32, 16)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class Attention(nn.Module):
    """Products of activations, through functions that keep codes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = (nn.Linear(32, 32) for _ in range(3))

    def forward(self, x):
        q, k = self.q(x).unflatten(-1, (2, 16)), self.k(x).unflatten(-1, (2, 16))
        scores = (q.transpose(0, 1) * 0.25) @ k.permute(1, 2, 0)
        return scores.softmax(-1).sum(0) @ self.v(x)


def quantized(model=None, activations="qint8", **options):
    model = model or Net()
    quanto.quantize(model, "qint8", activations, **options)
    return model


def sides(model):
    return {n: m.quantizes_output for n, m in model.named_children()}


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.9, 1.0])
@torch.no_grad()
def test_momentum_holds_for_inputs_and_outputs(momentum):
    model = quantized(nn.Sequential(nn.Linear(32, 16)))
    with Calibration(momentum=momentum, streamline=False):
        for x in batches():
            model(x)
    layer, expected = model[0], None
    for x in batches():
        new = x.abs().max() / 127
        expected = new if expected is None else momentum * expected + (1 - momentum) * new
    torch.testing.assert_close(layer.input_scale, expected)
    with Calibration(momentum=momentum, streamline=False):  # a second run goes on from the first
        model(batches()[0])
    new = batches()[0].abs().max() / 127
    torch.testing.assert_close(layer.input_scale, momentum * expected + (1 - momentum) * new)


@torch.no_grad()
def test_outputs_are_averaged_too():
    model, scale = quantized(nn.Sequential(nn.Linear(32, 16))), None
    layer = model[0]
    with Calibration(momentum=0.25, streamline=False):
        for x in batches():
            model(x)
            q = quanto.quantize_activation(x, quanto.qint8, layer.input_scale)
            new = F.linear(q, layer.qweight, layer.bias).abs().max() / 127
            scale = new if scale is None else 0.25 * scale + 0.75 * new
            torch.testing.assert_close(layer.output_scale, scale)


@pytest.mark.parametrize("activations", ["qint8", "qfloat8_e4m3fn", "qfloat8_e5m2"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@torch.no_grad()
def test_scales_are_buffers_of_the_weight_dtype(activations, dtype):
    model, x = quantized(Net().to(dtype), activations), batches()[0].to(dtype)
    with Calibration():
        model(x)
        with torch.autocast("cpu", torch.bfloat16):
            model(x)
    largest = x.abs().max() / quanto.qtypes[activations].qmax
    torch.testing.assert_close(model.fc1.input_scale, largest, rtol=1e-2, atol=0)
    for module in model.children():
        for name, scale in module.named_buffers():
            assert (scale.shape, scale.dtype) == ((), dtype), name
            assert scale != 1


def test_scales_carry_no_graph():
    model = quantized()
    with Calibration():
        model(batches()[0].requires_grad_())
    assert not any(buffer.requires_grad for buffer in model.buffers())
    for x in batches():  # each step has a graph of its own
        model(x).sum().backward()


@pytest.mark.parametrize("streamline", [True, False])
def test_scales_of_inference_mode_train(streamline):
    model = quantized()
    with torch.inference_mode(), Calibration(streamline=streamline):
        for x in batches():
            model(x)
    assert not any(buffer.is_inference() for buffer in model.buffers())
    model(batches()[0]).dequantize().sum().backward()
    assert model.fc1.weight.grad.any()


@torch.no_grad()
def test_by_default_results_are_plain():
    model = quantized()
    with Calibration():
        assert isinstance(model(batches()[0]), ActivationQBytesTensor)
        assert type(model(batches()[1])) is torch.Tensor
    assert type(model(batches()[0])) is torch.Tensor
    assert sides(model) == {"fc1": False, "fc2": False}


@torch.no_grad()
def test_without_streamlining_all_stay_quantized():
    model = quantized()
    with Calibration(streamline=False):
        model(batches()[0])
    assert isinstance(model(batches()[0]), ActivationQBytesTensor)
    assert sides(model) == {"fc1": True, "fc2": True}
    assert model.fc2.input_scale == model.fc1.output_scale


@pytest.mark.parametrize("activations", ["qint8", "qfloat8_e4m3fn"])
@torch.no_grad()
def test_products_of_codes_need_them(activations):
    """int8 codes are multiplied as they are; those of float8 are dequantized first."""
    model = quantized(Attention(), activations)
    with Calibration():
        for x in batches():
            model(x)
    needed = activations == "qint8"
    assert sides(model) == {"q": needed, "k": needed, "v": False}
    expected = Attention()(batches()[0])
    assert (model(batches()[0]) - expected).abs().max() < 0.05 * expected.abs().max()


@torch.no_grad()
def test_every_run_decides_anew():
    model = quantized()
    for streamline in (True, False, True):
        with Calibration(streamline=streamline):
            model(batches()[0])
        assert set(sides(model).values()) == {not streamline}
    model.fc1.disable_output_quantization()
    with Calibration(streamline=False):
        model(batches()[0])
    assert sides(model) == {"fc1": False, "fc2": True}


@torch.no_grad()
def test_a_layer_called_on_its_own_keeps_its_output():
    layer = quantized().fc1
    with Calibration():
        layer(batches()[0])
    assert layer.quantizes_output
    assert layer.input_scale != 1


@torch.no_grad()
def test_modules_within_modules_wait_for_the_whole():
    """An inner container ends before its output is used."""
    outer = nn.Sequential(quantized(nn.Sequential(nn.Linear(32, 32))), Net())
    with Calibration(streamline=False):
        outer(batches()[0])
    assert outer[0][0].quantizes_output

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = quantized(nn.Sequential(nn.Linear(32, 32)))

        def forward(self, x):
            y = self.inner(x)
            return y @ y.t()

    model = Product()
    with Calibration():
        model(batches()[0])
    assert model.inner[0].quantizes_output


def test_active():
    assert calibrate.active() is None
    with Calibration() as outer:
        assert calibrate.active() is outer
        with Calibration() as inner:
            assert calibrate.active() is inner
        assert calibrate.active() is outer
        with outer:
            assert calibrate.active() is outer
    assert calibrate.active() is None


@torch.no_grad()
def test_nested_runs():
    model, other = quantized(), quantized()
    with Calibration(momentum=0.5):
        model(batches()[0])
        with Calibration(streamline=False):
            other(batches()[0])
        model(batches()[1])
    assert set(sides(model).values()) == {False}
    assert set(sides(other).values()) == {True}
    first, second = (x.abs().max() / 127 for x in batches()[:2])
    torch.testing.assert_close(model.fc1.input_scale, (first + second) / 2)


class Fails(Net):
    def forward(self, x):
        if x.isnan().any():
            self.fc1(torch.ones_like(x))
            raise RuntimeError("no such batch")
        return super().forward(x)


@torch.no_grad()
def test_an_exception_leaves_nothing_behind():
    model = quantized(Fails())
    with Calibration():
        model(batches()[0])
    scales = {name: t.clone() for name, t in model.named_buffers()}
    with pytest.raises(RuntimeError, match="no such batch"), Calibration():
        model(batches()[0] * torch.nan)
    assert calibrate.active() is None
    assert set(sides(model).values()) == {False}
    model(batches()[1] * 100)
    changed = {n for n, t in model.named_buffers() if not torch.equal(t, scales[n])}
    assert changed == {"fc1.input_scale", "fc1.output_scale"}  # of the forward that failed
    with Calibration():
        with pytest.raises(RuntimeError, match="no such batch"):
            model(batches()[0] * torch.nan)
        model(batches()[0])
    assert set(sides(model).values()) == {False}


def test_values_that_are_not_finite_are_refused():
    model = quantized()
    with Calibration(), pytest.raises(ValueError, match="expected finite values"):
        model(batches()[0] * torch.inf)


@torch.no_grad()
def test_dynamic_modules_have_nothing_to_calibrate():
    model = quantized(dynamic=True)
    expected = model(batches()[0])
    with Calibration():
        assert torch.equal(model(batches()[0]), expected)
    assert all(buffer == 1 for buffer in model.buffers())


@torch.no_grad()
def test_an_empty_batch_changes_nothing():
    model = quantized()
    with Calibration():
        model(batches()[0])
        before = [buffer.clone() for buffer in model.buffers()]
        model(torch.empty(0, 32))
    assert all(map(torch.equal, before, model.buffers()))


@torch.no_grad()
def test_debug_prints_every_module(capsys):
    model = quantized()
    with Calibration(debug=True):
        model(batches()[0])
    scale = model.fc1.output_scale
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"fc1(QLinear) activations are quantized to quanto.qint8 with scale {scale}."
    )
    assert len(lines) == 2


def test_the_documented_training_line():
    """optimum-quanto's documentation trains on `model(data).dequantize()`."""
    model, x = quantized(), batches()[0]
    with Calibration():
        model(x)
    result = model(x)
    assert type(result) is torch.Tensor
    values = result.dequantize()
    assert torch.equal(values, result)
    values.sum().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model(x).sum().backward()
    for parameter, grad in zip(model.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_dequantize_of_a_plain_tensor(dtype):
    """As torch's, in float32, with the derivative that it lacks."""
    x = torch.randn(3, dtype=dtype, requires_grad=True)
    values = (x * 2).dequantize()
    assert values.dtype == torch.float32
    assert torch.equal(values, (x * 2).float())
    values.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2))
    assert type(torch.ones(3).dequantize()) is torch.Tensor
    compiled = torch.compile(lambda t: (t * 2).dequantize(), backend="aot_eager", fullgraph=True)
    x.grad = None
    compiled(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2))
