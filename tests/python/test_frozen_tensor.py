"""A frozen weight is a parameter like any other: copies, moves, views and writes."""

import copy
import io
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from frozen_models import (
    INPUT,
    codes,
    dense_model,
    every_scheme,
    frozen_model,
    inner_tensors,
    unfrozen_model,
)
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

import quanto
from quanto import QTensor


@every_scheme
def test_deepcopy_has_its_own_equal_codes(scheme):
    model = frozen_model(scheme)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(INPUT), model(INPUT))
    assert isinstance(twin[0].weight, nn.Parameter)
    assert codes(twin[0]).data_ptr() != codes(model[0]).data_ptr()


@every_scheme
def test_meta_and_back(scheme):
    model = frozen_model(scheme)
    dtype = codes(model[0]).dtype
    model = model.to("meta")
    assert model[0].weight.device.type == "meta"
    assert all(t.is_meta for t in inner_tensors(model[0]).values())
    model = model.to_empty(device="cpu")
    assert model[0].weight.device.type == "cpu"
    assert not any(t.is_meta for t in inner_tensors(model[0]).values())
    assert codes(model[0]).dtype == dtype


@every_scheme
def test_freezing_on_meta_gives_the_shapes(scheme):
    with torch.device("meta"):
        model = frozen_model(scheme)
    shapes = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
    real = {name: (t.shape, t.dtype) for name, t in frozen_model(scheme).state_dict().items()}
    assert shapes == real
    assert all(t.is_meta for t in model.state_dict().values())


@every_scheme
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_dtype_moves_scales_and_leaves_codes(scheme, dtype):
    model = frozen_model(scheme)
    before = codes(model[0]).clone()
    model = model.to(dtype)
    tensors = inner_tensors(model[0])
    assert model[0].weight.dtype == dtype
    assert tensors["weight._scale"].dtype == dtype
    assert codes(model[0]).dtype == before.dtype
    assert torch.equal(codes(model[0]).view(torch.uint8), before.view(torch.uint8))
    assert model(INPUT.to(dtype)).dtype == dtype


@every_scheme
def test_double_is_refused(scheme):
    with pytest.raises(TypeError, match="expected float32, float16 or bfloat16"):
        frozen_model(scheme).double()


@every_scheme
def test_another_input_dtype_is_refused_as_by_linear(scheme):
    with pytest.raises(RuntimeError, match="dtype"):
        frozen_model(scheme)(INPUT.bfloat16())


@every_scheme
def test_autocast_casts_input_and_result(scheme):
    model = frozen_model(scheme)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(INPUT)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), model(INPUT), rtol=0.05, atol=0.05)


@every_scheme
def test_whole_module_and_weight_survive_pickling(scheme):
    model = frozen_model(scheme)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(INPUT), model(INPUT))
    buffer = io.BytesIO()
    torch.save(model[0].weight, buffer)
    buffer.seek(0)
    weight = torch.load(buffer, weights_only=True)
    assert isinstance(weight, nn.Parameter)
    assert weight.equal(model[0].weight)


@every_scheme
def test_data_is_quantized_and_writes_through(scheme):
    model, other = frozen_model(scheme), frozen_model(scheme, seed=1)
    weight = model[0].weight
    assert isinstance(weight, QTensor)
    assert isinstance(weight.data, QTensor)
    weight.data.copy_(other[0].weight)
    assert weight.equal(other[0].weight.data)


@every_scheme
def test_assigning_data_replaces_codes(scheme):
    model, other = frozen_model(scheme), frozen_model(scheme, seed=1)
    model[0].weight.data = other[0].weight.data.clone()
    assert model[0].weight.equal(other[0].weight)
    model[0].weight.data = other[0].weight.dequantize()
    assert torch.equal(model[0].weight.dequantize(), other[0].weight.dequantize())
    with pytest.raises(ValueError, match="expected shape"):
        model[0].weight.data = torch.zeros(3)


@every_scheme
def test_share_memory_and_send_to_a_process(scheme):
    model = frozen_model(scheme).share_memory()
    assert model[0].weight.is_shared()
    assert all(t.is_shared() for t in inner_tensors(model[0]).values())
    received = pickle.loads(ForkingPickler.dumps(model))
    assert torch.equal(received(INPUT), model(INPUT))
    assert isinstance(received[0].weight, nn.Parameter)


@every_scheme
def test_functional_linear_is_the_module(scheme):
    layer = frozen_model(scheme)[0]
    assert torch.equal(F.linear(INPUT, layer.weight, layer.bias), layer(INPUT))
    assert torch.equal(F.linear(INPUT, bias=layer.bias, weight=layer.weight), layer(INPUT))


@every_scheme
def test_other_functions_take_the_values(scheme):
    layer = frozen_model(scheme)[0]
    result = INPUT @ layer.weight.t()
    assert type(result) is torch.Tensor
    torch.testing.assert_close(result, INPUT @ layer.weight.dequantize().t())


@every_scheme
@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.add_(0.25),
        lambda w: w.mul_(2),
        lambda w: w.zero_(),
        lambda w: torch.add(w, 1.0, out=w),
        lambda w: torch._foreach_add_([w], 0.5),
        lambda w: w.view(-1).mul_(3),
        lambda w: w.t().mul_(2),
        lambda w: w[:, 3:5].zero_(),
        lambda w: w[0].fill_(0.25),
        lambda w: w[4:9].mul_(0.5),
        lambda w: w[4:9].data.t()[1].fill_(0.125),
        lambda w: w.unbind(1)[2].copy_(w[:, 3]),
        lambda w: w.__setitem__((slice(None), 0), 0.5),
        lambda w: w.__setitem__(slice(0, 3), 0.5),
    ],
    ids=[
        "add_",
        "mul_",
        "zero_",
        "out",
        "foreach",
        "view",
        "transpose",
        "columns",
        "row",
        "slice",
        "view of a view",
        "unbind",
        "set column",
        "set rows",
    ],
)
def test_writes_are_quantized_into_place(scheme, write):
    weight = frozen_model(scheme)[0].weight.data
    expected = weight.dequantize().clone()
    write(expected)
    address = next(iter(quanto.tensor.qtensor.plain_tensors(weight))).data_ptr()
    write(weight)
    assert isinstance(weight, QTensor)
    assert next(iter(quanto.tensor.qtensor.plain_tensors(weight))).data_ptr() == address
    step = {"qint8": 1 / 127, "qfloat8": 1 / 8, "qint4": 1 / 15, "qint2": 1 / 3}[scheme]
    span = (expected.amax() - expected.amin()).clamp(min=expected.abs().amax())
    assert (weight.dequantize() - expected).abs().max() <= step * span


@every_scheme
def test_writing_back_the_same_values_changes_nothing(scheme):
    weight = frozen_model(scheme)[0].weight.data
    before = weight.clone()
    weight.copy_(weight.dequantize())
    assert weight.equal(before)


@every_scheme
def test_rows_stay_quantized(scheme):
    weight = frozen_model(scheme)[0].weight.data
    parts = weight.chunk(3)
    assert all(isinstance(part, QTensor) for part in parts)
    assert torch.equal(torch.cat([p.dequantize() for p in parts]), weight.dequantize())
    assert torch.equal(weight[5:9].dequantize(), weight.dequantize()[5:9])


@every_scheme
def test_tied_weights_are_one_object(scheme):
    model = frozen_model(scheme)
    model.append(nn.Linear(32, 64))
    quanto.quantize(model, weights=scheme, include="3")
    model[3].weight = model[0].weight
    unique = list(model.named_parameters())
    assert len(list(model.named_parameters(remove_duplicate=False))) == len(unique) + 1
    assert torch.equal(F.linear(INPUT, model[3].weight), F.linear(INPUT, model[0].weight))


@every_scheme
def test_freezing_tied_linears_keeps_them_tied(scheme):
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32))
    model[1].weight = model[0].weight
    quanto.quantize(model, weights=scheme)
    quanto.freeze(model)
    assert model[1].weight is model[0].weight
    assert model[0].frozen


@every_scheme
def test_freezing_one_user_of_a_shared_weight_leaves_the_other(scheme):
    embedding, layer = nn.Embedding(64, 32), nn.Linear(32, 64)
    layer.weight = embedding.weight
    layer = quanto.quantize_module(layer, weights=scheme)
    assert layer.weight is embedding.weight
    layer.freeze()
    assert layer.frozen
    assert not isinstance(embedding.weight, QTensor)


class Double(nn.Module):
    def forward(self, weight):
        return (weight.dequantize() if isinstance(weight, QTensor) else weight) * 2


@every_scheme
@pytest.mark.parametrize("make", [unfrozen_model, frozen_model], ids=["unfrozen", "frozen"])
def test_parametrized_weight_is_used(scheme, make):
    layer = make(scheme)[0]
    values = layer.qweight.detach().dequantize()
    parametrize.register_parametrization(layer, "weight", Double(), unsafe=True)
    # Doubling is exact, so that a second quantization finds the same codes.
    torch.testing.assert_close(layer(INPUT), F.linear(INPUT, values * 2, layer.bias))
    assert type(layer.weight) is torch.Tensor


@every_scheme
def test_requires_grad_on_the_model(scheme):
    model = frozen_model(scheme)
    assert not model[0].weight.requires_grad
    model.requires_grad_(False).requires_grad_(True)
    model(INPUT).sum().backward()
    assert model[0].bias.grad is not None
    assert type(model[0].weight.grad) is torch.Tensor


@every_scheme
def test_gradients_are_those_of_the_dense_model(scheme):
    model = frozen_model(scheme)
    model.requires_grad_(True)
    dense = dense_model(model)
    grads = []
    for net in (model, dense):
        x = INPUT.clone().requires_grad_()
        net(x).square().sum().backward()
        grads.append((x.grad, net[0].bias.grad, net[0].weight.grad, net[2].weight.grad))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@every_scheme
def test_inference_mode(scheme):
    model = frozen_model(scheme)
    expected = model(INPUT).detach()
    with torch.inference_mode():
        assert torch.equal(model(INPUT), expected)
        twin = frozen_model(scheme)
        assert torch.equal(twin(INPUT), expected)
        assert torch.equal(twin[0].weight.clone().dequantize(), twin[0].weight.dequantize())


@every_scheme
def test_nothing_keeps_a_graph(scheme):
    model = frozen_model(scheme)
    assert all(not t.requires_grad for t in inner_tensors(model[0]).values())
    output = model(INPUT)
    assert output.requires_grad  # the bias
    weight = unfrozen_model(scheme)[0].qweight
    assert weight.requires_grad
    assert all(t.grad_fn is None for t in quanto.tensor.qtensor.plain_tensors(weight))


@every_scheme
def test_inner_tensors_are_assignable_after_freezing_on_meta(scheme):
    source = frozen_model(scheme)
    with torch.device("meta"):
        model = frozen_model(scheme)
    for name, tensor in source.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        target = model
        for part in owner.split("."):
            target = getattr(target, part)
        setattr(target, leaf, nn.Parameter(tensor) if leaf == "bias" else tensor)
    assert model[0].weight.device.type == "cpu"
    assert torch.equal(model(INPUT), source(INPUT))


@every_scheme
def test_equal_and_numpy(scheme):
    first, second = frozen_model(scheme)[0].weight, frozen_model(scheme)[0].weight
    other = frozen_model(scheme, seed=1)[0].weight
    assert torch.equal(first, second)
    assert first.equal(second)
    assert not torch.equal(first, other)
    assert (first.detach().numpy() == first.detach().dequantize().numpy()).all()


@every_scheme
def test_views_read_what_the_weight_holds_now(scheme):
    weight = frozen_model(scheme)[0].weight.data
    column = weight[:, 1]
    weight.mul_(2)
    assert torch.equal(column + 0, weight.dequantize()[:, 1])
    assert column.tolist() == weight.dequantize()[:, 1].tolist()
    assert (column.numpy() == column.dequantize().numpy()).all()
    twin = copy.deepcopy(column)
    assert type(twin) is torch.Tensor
    assert torch.equal(pickle.loads(pickle.dumps(column)), twin)
    assert repr(column) == repr(twin)


@every_scheme
def test_copies_of_rows_are_on_their_own(scheme):
    weight = frozen_model(scheme)[0].weight.data
    before = weight.clone()
    weight[2:6].clone().zero_()
    assert weight.equal(before)
