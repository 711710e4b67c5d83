# SPDX-License-Identifier: Apache-2.0
"""Tuning against optimum-quanto: gradients of unfrozen and frozen layers, and training steps."""

import golden
import torch
from golden_layers import check_output, expected, layer_of, magnitudes, state, values_taken
from tolerances import lost_by_dense_weights, sum_bound
from torch import nn
from torch.nn import functional as F

import quanto

UNFROZEN = "QLinear.from_module(Linear, weights, activations), not frozen; forward; backward(g)"
FROZEN = "QLinear frozen; forward; backward(g)"
TRAINING = "quantize(Sequential(Linear, ReLU, Linear), weights); 5 steps SGD(lr=0.05)"


def product_agrees(mine, theirs, left, right, magnitude):
    """`left @ right`: both sides within the bound of sums and of the operands' roundings."""
    dtype = mine.dtype
    exact, terms = left.double() @ right.double(), left.double().abs() @ magnitude
    bound = sum_bound(exact, terms, left.shape[-1], dtype) + 2 * lost_by_dense_weights(terms, dtype)
    for grad in (mine, theirs):
        assert ((grad.double() - exact).abs() <= bound).all()


def gradients_agree(case, layer):
    x, g, outputs = case.inputs["x"].clone().requires_grad_(), case.inputs["g"], case.outputs
    for scale in ("input_scale", "output_scale"):
        if scale in case.inputs:
            getattr(layer, scale).copy_(case.inputs[scale])
    output = layer(x)
    output.backward(g)
    with torch.no_grad():
        exact, bound = expected(layer, x.detach(), x.dtype)
        check_output(layer, output.detach(), outputs["output"], None, exact, bound)
        weight = layer.qweight.detach()
        rows, taken = g.flatten(0, -2), values_taken(layer, x.detach()).flatten(0, -2)
        values = weight.dequantize()
        grads = (x.grad.flatten(0, -2), outputs["x_grad"].flatten(0, -2))
        product_agrees(*grads, rows, values, magnitudes(weight))
        if "weight_grad" in outputs:
            grads = (layer.weight.grad, outputs["weight_grad"])
            product_agrees(*grads, rows.t(), taken, taken.abs())
        if "bias_grad" in outputs:
            ones = torch.ones(len(rows), 1, dtype=rows.dtype)
            grads = (layer.bias.grad[:, None], outputs["bias_grad"][:, None])
            product_agrees(*grads, rows.t(), ones, ones.double())


@golden.every("qat", UNFROZEN)
def test_gradients_before_freezing(case):
    weight = case.inputs["weight"]
    layer = layer_of(case, weight.shape[1], weight.shape[0], bias="bias" in case.inputs)
    layer.weight = nn.Parameter(weight.clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(case.inputs["bias"].clone())
    gradients_agree(case, layer)


@golden.every("qat", FROZEN)
def test_gradients_after_freezing(case):
    tensors = state(case)
    x, g = case.inputs["x"], case.inputs["g"]
    layer = layer_of(case, x.shape[-1], g.shape[-1], bias="bias" in tensors)
    layer.load_state_dict(tensors, strict=True)
    gradients_agree(case, layer)


@golden.every("qat", TRAINING)
def test_training_steps(case):
    inputs, outputs = case.inputs, case.outputs
    sizes = [inputs[f"start.{i}.weight"].shape for i in (0, 2)]
    net = nn.Sequential(nn.Linear(*sizes[0][::-1]), nn.ReLU(), nn.Linear(*sizes[1][::-1]))
    net.load_state_dict({k.removeprefix("start."): v for k, v in inputs.items() if "start" in k})
    quanto.quantize(net, weights=case.params["weights"])
    optimizer = torch.optim.SGD(net.parameters(), lr=case.params["lr"])
    for i, loss_before in enumerate(outputs["losses"]):
        loss = F.mse_loss(net(inputs["X"][i]), inputs["Y"][i])
        torch.testing.assert_close(loss.detach(), loss_before)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        torch.testing.assert_close(net.state_dict()[name], outputs[f"after.{name}"])
    quanto.freeze(net)
    torch.testing.assert_close(net(inputs["X"][0]).detach(), outputs["output_frozen_X0"])
