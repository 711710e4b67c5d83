"""State dicts of frozen modules: names, strict loading, what is reported, what is left alone."""

import io
import warnings

import pytest
import torch
from frozen_models import (
    INPUT,
    codes,
    every_scheme,
    float_model,
    frozen_model,
    inner_tensors,
    unfrozen_model,
)
from safetensors.torch import load, save
from torch import nn

import quanto
from quanto import QTensor

NAMES = {
    "qint8": ["_data", "_scale"],
    "qfloat8": ["_data", "_scale"],
    "qint4": ["_data._data", "_scale", "_shift"],
    "qint2": ["_data._data", "_scale", "_shift"],
}


@every_scheme
def test_names_are_the_predecessors(scheme):
    inner = [f"0.weight.{name}" for name in NAMES[scheme]]
    keys = [key for key in frozen_model(scheme).state_dict() if key.startswith("0.")]
    assert keys == [*inner, "0.bias", "0.input_scale", "0.output_scale"]
    keys = [key for key in unfrozen_model(scheme).state_dict() if key.startswith("0.")]
    assert keys == ["0.weight", "0.bias", "0.input_scale", "0.output_scale"]


@every_scheme
def test_shapes_are_the_predecessors(scheme):
    linear = nn.Linear(160, 96)
    layer = quanto.quantize_module(linear, weights=scheme)
    layer.freeze()
    shapes = {name: tuple(t.shape) for name, t in inner_tensors(layer).items()}
    assert (
        shapes
        == {
            "qint8": {"weight._data": (96, 160), "weight._scale": (96, 1)},
            "qfloat8": {"weight._data": (96, 160), "weight._scale": (96, 1)},
            "qint4": {
                "weight._data._data": (240, 32),
                "weight._scale": (480, 1),
                "weight._shift": (480, 1),
            },
            "qint2": {
                "weight._data._data": (120, 32),
                "weight._scale": (480, 1),
                "weight._shift": (480, 1),
            },
        }[scheme]
    )


@every_scheme
def test_strict_loading_copies(scheme):
    source, target = frozen_model(scheme), frozen_model(scheme, seed=1)
    address = codes(target[0]).data_ptr()
    target.load_state_dict(source.state_dict(), strict=True)
    assert torch.equal(target(INPUT), source(INPUT))
    assert codes(target[0]).data_ptr() == address != codes(source[0]).data_ptr()


@every_scheme
def test_strict_loading_assigns(scheme):
    source = frozen_model(scheme)
    with torch.device("meta"):
        target = frozen_model(scheme)
    target.load_state_dict(source.state_dict(), strict=True, assign=True)
    assert torch.equal(target(INPUT), source(INPUT))
    assert codes(target[0]).data_ptr() == codes(source[0]).data_ptr()


@every_scheme
def test_loading_into_meta_without_assign_warns(scheme):
    with torch.device("meta"):
        target = frozen_model(scheme)
    with pytest.warns(UserWarning, match="assign=True"):
        target.load_state_dict(frozen_model(scheme).state_dict())
    assert target[0].weight.is_meta


@every_scheme
def test_loading_keeps_the_modules_dtype(scheme):
    source, target = frozen_model(scheme), frozen_model(scheme, seed=1).bfloat16()
    target.load_state_dict(source.state_dict())
    assert target[0].weight.dtype == torch.bfloat16
    target = unfrozen_model(scheme, seed=1).bfloat16()
    target.load_state_dict(source.state_dict())
    assert target[0].weight.dtype == torch.bfloat16
    assert target[0].frozen


@every_scheme
def test_missing_tensors_are_named_in_full(scheme):
    for make in (frozen_model, unfrozen_model):
        for name in NAMES[scheme]:
            state = frozen_model(scheme).state_dict()
            del state[f"0.weight.{name}"]
            target = make(scheme, seed=1)
            before = target[0].weight.detach().clone()
            with pytest.raises(RuntimeError, match=f"Missing key.*0.weight.{name}"):
                target.load_state_dict(state)
            assert torch.equal(target[0].weight.detach(), before)
            report = make(scheme, seed=1).load_state_dict(state, strict=False)
            assert report.missing_keys == [f"0.weight.{name}"]
            assert report.unexpected_keys == []


@every_scheme
def test_a_weight_that_is_missing_altogether_is_named(scheme):
    state = frozen_model(scheme).state_dict()
    for name in NAMES[scheme]:
        del state[f"0.weight.{name}"]
    frozen = frozen_model(scheme, seed=1).load_state_dict(state, strict=False)
    assert frozen.missing_keys == [f"0.weight.{name}" for name in NAMES[scheme]]
    unfrozen = unfrozen_model(scheme, seed=1).load_state_dict(state, strict=False)
    assert unfrozen.missing_keys == ["0.weight"]


@every_scheme
def test_unexpected_tensors_are_named(scheme):
    state = frozen_model(scheme).state_dict()
    state["0.weight._extra"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*0\.weight\._extra"):
        frozen_model(scheme).load_state_dict(state)
    assert float_model().load_state_dict(state, strict=False).unexpected_keys


@every_scheme
def test_misshapen_tensors_are_named_with_both_shapes(scheme):
    state = frozen_model(scheme).state_dict()
    name = f"0.weight.{NAMES[scheme][0]}"
    expected, state[name] = tuple(state[name].shape), state[name][:-1]
    got = tuple(state[name].shape)
    target = frozen_model(scheme, seed=1)
    before = target[0].weight.detach().clone()
    with pytest.raises(RuntimeError) as error:
        target.load_state_dict(state)
    assert f"{name}: expected {expected}, got {got}" in str(error.value)
    assert torch.equal(target[0].weight.detach(), before)


@every_scheme
def test_codes_of_another_dtype_are_refused(scheme):
    state = frozen_model(scheme).state_dict()
    name = f"0.weight.{NAMES[scheme][0]}"
    state[name] = state[name].to(torch.float32)
    with pytest.raises(RuntimeError, match=f"dtype of {name}: expected .*, got torch.float32"):
        frozen_model(scheme).load_state_dict(state)


@every_scheme
def test_frozen_state_freezes_and_float_state_unfreezes(scheme):
    source = frozen_model(scheme)
    model = unfrozen_model(scheme, seed=1)
    model.load_state_dict(source.state_dict())
    assert model[0].frozen
    assert torch.equal(model(INPUT), source(INPUT))
    unfrozen = unfrozen_model(scheme, seed=2)
    model.load_state_dict(unfrozen.state_dict())
    assert not model[0].frozen
    assert not isinstance(model[0].weight, QTensor)
    assert torch.equal(model[0].weight, unfrozen[0].weight)
    assert model[0].weight.requires_grad


@every_scheme
def test_safetensors_round_trip(scheme):
    source, target = frozen_model(scheme), frozen_model(scheme, seed=1)
    target.load_state_dict(load(save(source.state_dict())))
    assert torch.equal(target(INPUT), source(INPUT))


@every_scheme
def test_pickled_state_loads_with_weights_only(scheme):
    source, target = frozen_model(scheme), frozen_model(scheme, seed=1)
    buffer = io.BytesIO()
    torch.save(source.state_dict(), buffer)
    buffer.seek(0)
    target.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(target(INPUT), source(INPUT))


@every_scheme
def test_names_seen_from_outside(scheme):
    model = frozen_model(scheme)
    assert [name for name, _ in model.named_parameters()] == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    ]
    inner = [f"weight.{name}" for name in NAMES[scheme]]
    assert [name for name, _ in model[0].named_parameters()] == [*inner, "bias"]
    assert [name for name, _ in unfrozen_model(scheme)[0].named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in model[0].named_buffers()] == ["input_scale", "output_scale"]


@every_scheme
def test_loading_is_silent(scheme):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frozen_model(scheme).load_state_dict(frozen_model(scheme, seed=1).state_dict())


@every_scheme
def test_one_output_feature(scheme):
    layer = quanto.quantize_module(nn.Linear(32, 1), weights=scheme)
    x = INPUT
    layer.freeze()
    twin = quanto.quantize_module(nn.Linear(32, 1), weights=scheme)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin(x), layer(x))
