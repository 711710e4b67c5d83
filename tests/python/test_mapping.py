# SPDX-License-Identifier: Apache-2.0
"""The quantization map: what it records, what is read from it, and what is refused."""

import json

import pytest
import torch
from torch import nn

import quanto
from quanto.mapping import MAP_VERSION, read_entry


def layers():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 32), nn.LayerNorm(32), nn.Linear(32, 4)
    )


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def entry_of(model, name):
    found = quanto.quantization_map(model)
    assert json.loads(json.dumps(found)) == found
    return found[name]


def test_of_weights_alone():
    model = layers()
    quanto.quantize(model, "int4", group_size=36, include=["2", "0"], exclude="0")
    assert quanto.quantization_map(model) == {
        "2": {
            "weights": "qint4",
            "activations": "none",
            "version": MAP_VERSION,
            "group_size": 36,
            "axis": 0,
            "dynamic": False,
            "quantized_input": False,
            "quantized_output": False,
        }
    }


def test_of_static_activations():
    model = layers()
    quanto.quantize(model, "qint8", activations="qfloat8")
    model[4].disable_output_quantization()
    found = quanto.quantization_map(model)
    assert list(found) == ["0", "2", "3", "4"]
    sides = {k: (e["quantized_input"], e["quantized_output"]) for k, e in found.items()}
    assert sides["2"] == (True, True)
    assert sides["3"] == (False, True)
    assert sides["4"] == (True, False)
    assert found["3"]["weights"] == "none"
    assert {entry["activations"] for entry in found.values()} == {"qfloat8_e4m3fn"}


def test_of_dynamic_activations():
    model = layers()
    quanto.quantize(model, "qint8", activations="qint8", dynamic=True)
    entry = entry_of(model, "2")
    assert entry["dynamic"]
    assert not entry["quantized_output"]


def reloaded(model, mapping):
    with torch.device("meta"):
        again = layers()
    quanto.requantize(again, model.state_dict(), mapping)
    return again


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("weights", ["qint8", "qint4", "qfloat8"])
def test_reload_computes_the_same(weights, dynamic):
    model = layers()
    quanto.quantize(model, weights, activations="qint8", dynamic=dynamic)
    if not dynamic:
        with torch.no_grad(), quanto.Calibration():
            model(IMAGES)
    quanto.freeze(model)
    mapping = quanto.quantization_map(model)
    again = reloaded(model, mapping)
    assert quanto.quantization_map(again) == mapping
    mine, theirs = again(IMAGES), model(IMAGES)
    assert type(mine) is type(theirs)
    assert torch.equal(mine, theirs)


def test_unfrozen_models_are_reloaded_unfrozen():
    model = layers()
    quanto.quantize(model, "qint8")
    again = reloaded(model, quanto.quantization_map(model))
    assert not again[2].frozen
    assert again[2].weight.requires_grad
    assert torch.equal(again(IMAGES), model(IMAGES))


def test_maps_of_the_predecessor_follow_its_rules():
    model = layers()
    quanto.quantize(model, "qint8", activations="qint8")
    quanto.freeze(model)
    theirs = {
        name: {key: entry[key] for key in ("weights", "activations")}
        for name, entry in quanto.quantization_map(model).items()
    }
    again = reloaded(model, theirs)
    assert not again[0].quantizes_input
    assert again[2].quantizes_input
    assert not again[3].quantizes_input
    assert again[4].quantizes_input
    assert all(again[index].quantizes_output for index in (0, 2, 3, 4))
    assert not any(again[index].dynamic for index in (0, 2, 3, 4))


def test_a_weight_without_groups_stays_so():
    model = nn.Sequential(nn.Linear(256, 8))
    quanto.quantize(model, "qint4")
    model[0].weight_group_size = None
    quanto.freeze(model)
    mapping = quanto.quantization_map(model)
    again = nn.Sequential(nn.Linear(256, 8, device="meta"))
    quanto.requantize(again, model.state_dict(), mapping)
    assert again[0].weight.group_size is None


GOOD = {
    "weights": "qint8",
    "activations": "none",
    "version": MAP_VERSION,
    "group_size": None,
    "axis": 0,
    "dynamic": False,
    "quantized_input": False,
    "quantized_output": False,
}


def without(key):
    return {name: value for name, value in GOOD.items() if name != key}


BAD = {
    "no weights": (without("weights"), KeyError, "expected weights for l, got none"),
    "no activations": (without("activations"), KeyError, "expected activations for l, got none"),
    "unknown type": ({**GOOD, "weights": "int9"}, KeyError, "expected one of qint2"),
    "unknown activations": ({**GOOD, "activations": "int9"}, ValueError, "expected one of qint2"),
    "version": ({**GOOD, "version": 2}, ValueError, "expected version 1 for l, got 2"),
    "axis": ({**GOOD, "axis": -1}, ValueError, "expected axis 0 for l, got -1"),
    "unknown key": ({**GOOD, "zero": 1}, ValueError, "expected no zero for l"),
    "lost key": (without("dynamic"), ValueError, "expected dynamic for l, got none"),
    "group size": ({**GOOD, "group_size": "64"}, ValueError, "as group_size of l, got '64'"),
    "flag": ({**GOOD, "dynamic": 1}, ValueError, "expected true or false as dynamic of l, got 1"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_entries(kind):
    raw, error, message = BAD[kind]
    with pytest.raises(error, match=message) as raised:
        read_entry("l", raw)
    assert isinstance(raised.value, ValueError)
    assert "\n" not in str(raised.value)
    assert read_entry("l", GOOD).weights is quanto.qint8
