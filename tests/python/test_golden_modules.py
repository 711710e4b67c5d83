"""QLinear against optimum-quanto's: frozen outputs, gradients, and training steps."""

import golden
import pytest
import torch
from tolerances import dense_bound, matmul_bound
from torch import nn
from torch.nn import functional as F

import quanto

FROZEN = "QLinear.from_module(Linear, weights, activations); freeze(); forward(x)"
UNFROZEN = "QLinear.from_module(Linear, weights, activations), not frozen; forward; backward(g)"
FROZEN_GRAD = "QLinear frozen; forward; backward(g)"
TRAINING = "quantize(Sequential(Linear, ReLU, Linear), weights); 5 steps SGD(lr=0.05)"


def weight_only(name, call):
    chosen = [
        case
        for case in golden.cases(name).values()
        if case.call.startswith(call) and case.params.get("activations") is None
    ]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=[case.id for case in chosen])


def state(case):
    inputs = case.inputs.items()
    return {name.removeprefix("state."): t for name, t in inputs if name.startswith("state.")}


def layer_of(case, in_features, out_features, *, bias):
    x = case.inputs["x"]
    linear = nn.Linear(in_features, out_features, bias=bias, dtype=x.dtype)
    return quanto.QLinear.from_module(linear, weights=case.params["weights"])


def terms(weight):
    """|scale * q| + |shift|: what the library rounds to its dtype before it multiplies."""
    values = weight.dequantize().double()
    if weight.qtype.bits == 8:
        return values.abs()
    shift = weight._shift.double().flatten()
    shifts = shift.repeat_interleave(values.numel() // shift.numel()).view(values.shape)
    return (values + shifts).abs() + shifts.abs()


def close(mine, theirs, x, values, bias=None, magnitude=None):
    """Both sides within their bounds; `magnitude`: the terms of a weight that was dequantized."""
    bound = 2 * matmul_bound(x, values, bias, mine.dtype)
    if magnitude is not None and mine.dtype != torch.float32:
        bound = bound + dense_bound(x, values, magnitude, mine.dtype)
    assert ((mine.double() - theirs.double()).abs() <= bound).all()


@weight_only("modules", FROZEN)
def test_frozen_output(case):
    x, params = case.inputs["x"], case.params
    layer = layer_of(case, params["in_features"], params["out_features"], bias=params["bias"])
    assert layer.weight_group_size == params["group_size"]
    layer.load_state_dict(state(case), strict=True)
    assert layer.frozen
    values, magnitude = layer.weight.dequantize(), terms(layer.weight)
    with torch.no_grad():
        close(layer(x), case.outputs["output"], x, values, layer.bias, magnitude)


@weight_only("modules", FROZEN)
def test_freezing_gives_the_same_state(case):
    params = case.params
    layer = layer_of(case, params["in_features"], params["out_features"], bias=params["bias"])
    layer.weight = nn.Parameter(case.inputs["float_weight"])
    layer.freeze()
    mine, theirs = layer.state_dict(), state(case)
    for name in theirs:
        if name.startswith("weight."):
            assert mine[name].shape == theirs[name].shape, name
            assert mine[name].dtype == theirs[name].dtype, name
    again = layer_of(case, params["in_features"], params["out_features"], bias=params["bias"])
    again.load_state_dict(theirs)
    # A scale one rounding away moves a value by less than a step.
    step = {"qfloat8_e5m2": 2.0**13, "qfloat8_e4m3fn": 2.0**5, "qfloat8_e4m3fnuz": 2.0**4}
    largest = again.weight._scale.float().abs().amax() * step.get(layer.weight_qtype.name, 1)
    assert (layer.weight.dequantize() - again.weight.dequantize()).abs().amax() <= largest


def gradients_agree(case, layer):
    x = case.inputs["x"].clone().requires_grad_()
    g = case.inputs["g"]
    output = layer(x)
    output.backward(g)
    weight = layer.qweight.detach()
    values, magnitude = weight.dequantize(), terms(weight)
    flat, grad = x.detach().flatten(0, -2), g.flatten(0, -2)
    with torch.no_grad():
        close(output, case.outputs["output"], x, values, layer.bias, magnitude)
    close(x.grad, case.outputs["x_grad"], g, values.t(), None, magnitude.t())
    if "weight_grad" in case.outputs:
        close(layer.weight.grad, case.outputs["weight_grad"], grad.t(), flat.t())
    if "bias_grad" in case.outputs:
        ones = torch.ones(1, len(grad), dtype=g.dtype)
        close(layer.bias.grad[None], case.outputs["bias_grad"][None], ones, grad.t())


@weight_only("qat", UNFROZEN)
def test_gradients_before_freezing(case):
    weight = case.inputs["weight"]
    layer = layer_of(case, weight.shape[1], weight.shape[0], bias="bias" in case.inputs)
    layer.weight = nn.Parameter(weight.clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(case.inputs["bias"].clone())
    gradients_agree(case, layer)


@weight_only("qat", FROZEN_GRAD)
def test_gradients_after_freezing(case):
    tensors = state(case)
    x, g = case.inputs["x"], case.inputs["g"]
    layer = layer_of(case, x.shape[-1], g.shape[-1], bias="bias" in tensors)
    layer.load_state_dict(tensors, strict=True)
    gradients_agree(case, layer)


@weight_only("qat", TRAINING)
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
