# SPDX-License-Identifier: Apache-2.0
"""Tuning: straight-through gradients, training with quantized activations, freezing after it."""

import pytest
import torch
from frozen_models import every_scheme
from torch import nn
from torch.nn import functional as F

import quanto

GENERATOR = torch.Generator().manual_seed(7)
X, TARGETS = torch.randn(64, 32, generator=GENERATOR), torch.arange(64) % 4

activations = pytest.mark.parametrize(
    ("kind", "dynamic"),
    [(None, False), ("qint8", False), ("qint8", True), ("qfloat8_e4m3fn", False)],
    ids=["float", "int8", "dynamic", "float8"],
)


def model(weights, kind=None, dynamic=False):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    quanto.quantize(net, weights, kind, dynamic=dynamic)
    if kind is not None and not dynamic:
        with quanto.Calibration(), torch.no_grad():
            net(X)
    return net


def inputs_of(net, x):
    """What each layer is called with: other sums would not round to the same codes everywhere."""
    seen = []
    handles = [layer.register_forward_pre_hook(lambda m, a: seen.append(a[0])) for layer in net]
    net(x)
    for handle in handles:
        handle.remove()
    return [taken.detach() for taken in seen]


def dense(net, x):
    """The network of the values that the quantized one computes with, and its parameters."""
    leaves = []
    for layer, taken in zip(net, inputs_of(net, x), strict=True):
        if not isinstance(layer, quanto.QLinear):
            x = layer(x)
            continue
        weight = layer.qweight.detach().dequantize().requires_grad_()
        leaves += [weight, layer.bias.detach().clone().requires_grad_()]
        if layer.activation_qtype is not None:
            x = fake_quantized(layer, taken) + (x - x.detach())
        x = F.linear(x, *leaves[-2:])
    return x, leaves


def fake_quantized(layer, rows):
    """The values that quantized ones stand for."""
    kind = layer.activation_qtype
    if layer.dynamic:
        parts = [
            quanto.quantize_activation(row, kind, quanto.absmax_scale(row, kind)).dequantize()
            for row in rows
        ]
        return torch.stack(parts)
    return quanto.quantize_activation(rows, kind, layer.input_scale).dequantize()


@every_scheme
@activations
def test_gradients_are_those_of_the_values_computed_with(scheme, kind, dynamic):
    net = model(scheme, kind, dynamic)
    x, twin = (X.clone().requires_grad_() for _ in range(2))
    F.cross_entropy(net(x), TARGETS).backward()
    output, leaves = dense(net, twin)
    F.cross_entropy(output, TARGETS).backward()
    torch.testing.assert_close(x.grad, twin.grad)
    for parameter, leaf in zip(net.parameters(), leaves, strict=True):
        torch.testing.assert_close(parameter.grad, leaf.grad)


@activations
def test_training_lowers_the_loss_and_freezing_keeps_it(kind, dynamic):
    net = model("qint4", kind, dynamic)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(net(X).dequantize(), TARGETS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    with torch.no_grad():
        before = net(X)
        quanto.freeze(net)
        assert torch.equal(net(X), before)


@torch.no_grad()
def test_quantized_outputs_train_too():
    net = model("qint8")
    quanto.quantize(net, "qint8", "qint8")
    with quanto.Calibration(streamline=False):
        net(X)
    with torch.enable_grad():
        output = net(X)
        assert isinstance(output, quanto.ActivationQBytesTensor)
        F.cross_entropy(output.dequantize(), TARGETS).backward()
    for parameter in net.parameters():
        assert parameter.grad.any()
        assert type(parameter.grad) is torch.Tensor


@every_scheme
def test_a_frozen_weight_wants_no_gradient(scheme):
    """In optimum-quanto it does, and receives one that no optimizer can use."""
    net = model(scheme, "qint8")
    quanto.freeze(net)
    assert [parameter.requires_grad for parameter in net.parameters()] == [False, True] * 2
    x = X.clone().requires_grad_()
    F.cross_entropy(net(x), TARGETS).backward()
    assert x.grad.any()
    assert net[0].weight.grad is None
    assert net[0].bias.grad.any()
    net.requires_grad_(True)  # as asked for: straight through, as a plain tensor
    F.cross_entropy(net(X), TARGETS).backward()
    assert type(net[0].weight.grad) is torch.Tensor
    assert net[0].weight.grad.shape == net[0].weight.shape


def test_training_steps_after_a_calibration_with_gradients():
    net = model("qint8")
    quanto.quantize(net, "qint8", "qint8")
    with quanto.Calibration():
        net(X)
    for _ in range(2):
        F.cross_entropy(net(X), TARGETS).backward()
