"""requantize: what is reloaded, without a copy, and what is refused before anything is changed."""

import json

import pytest
import torch
from frozen_models import INPUT, every_scheme, float_model, frozen_model
from safetensors.torch import load_file, save_file
from torch import nn

import quanto


def empty():
    with torch.device("meta"):
        return float_model()


@every_scheme
@pytest.mark.parametrize(
    "make",
    [empty, float_model, lambda: frozen_model("qint8", seed=4)],
    ids=["meta", "float", "quantized"],
)
def test_reloads(scheme, make):
    source, model = frozen_model(scheme), make()
    mapping = json.loads(json.dumps(quanto.quantization_map(source)))
    quanto.requantize(model, source.state_dict(), mapping)
    assert torch.equal(model(INPUT), source(INPUT))
    assert quanto.quantization_map(model) == mapping
    assert not model[0].weight.requires_grad
    assert model[0].bias.requires_grad


@every_scheme
def test_tensors_are_those_of_the_state_dict(scheme):
    source, model = frozen_model(scheme), empty()
    state = source.state_dict()
    quanto.requantize(model, state, quanto.quantization_map(source))
    for name, tensor in model.state_dict().items():
        assert tensor.data_ptr() == state[name].data_ptr(), name


@every_scheme
def test_mapped_files(scheme, tmp_path):
    source, model = frozen_model(scheme), empty()
    save_file(source.state_dict(), tmp_path / "m.safetensors")
    quanto.requantize(model, load_file(tmp_path / "m.safetensors"), quanto.quantization_map(source))
    assert torch.equal(model(INPUT), source(INPUT))


def test_maps_of_the_predecessor_are_read_by_its_rules():
    source = nn.Sequential(nn.Linear(160, 8))
    quanto.quantize(source, "qint4")
    quanto.freeze(source)
    model = nn.Sequential(nn.Linear(160, 8, device="meta"))
    mapping = {"0": {"weights": "qint4", "activations": "none"}}
    quanto.requantize(model, source.state_dict(), mapping)
    assert model[0].weight.group_size == 32


def changed(state, **changes):
    return {**state, **{name.replace("__", "."): t for name, t in changes.items()}}


def refusals(scheme):
    source = frozen_model(scheme)
    state, mapping = source.state_dict(), quanto.quantization_map(source)
    codes = next(name for name in state if name.startswith("0.weight._data"))
    without = {name: t for name, t in state.items() if name not in (codes, "2.bias")}
    return {
        "missing": (without, mapping, f"missing keys: .*{codes}"),
        "unexpected": (changed(state, **{"5.bias": INPUT}), mapping, "unexpected keys: 5.bias"),
        "misshapen": (
            changed(state, **{codes: state[codes][1:]}),
            mapping,
            f"size mismatch for {codes}: expected .*, got",
        ),
        "misshapen float": (
            changed(state, **{"2.bias": INPUT}),
            mapping,
            r"size mismatch for 2.bias: expected \(16,\), got \(4, 32\)",
        ),
        "dtype": (
            changed(state, **{codes: state[codes].to(torch.int16)}),
            mapping,
            f"dtype of {codes}: expected",
        ),
        "unknown module": (state, {**mapping, "7": mapping["0"]}, "expected a module 7"),
        "other module": (
            state,
            {**mapping, "1": mapping["0"]},
            "ReLU has no quantized counterpart",
        ),
        "unknown type": (state, {**mapping, "0": {"weights": "int8"}}, "expected one of qint2"),
        "axis": (state, {**mapping, "0": {**mapping["0"], "axis": -1}}, "expected axis 0 for 0"),
        "group size": (
            state,
            {**mapping, "0": {**mapping["0"], "group_size": 7}},
            "group_size",
        ),
    }


@every_scheme
@pytest.mark.parametrize("kind", list(refusals("qint8")))
def test_refused_before_anything_is_changed(scheme, kind):
    state, mapping, message = refusals(scheme)[kind]
    model = float_model()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        quanto.requantize(model, state, mapping)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert type(model[0]) is nn.Linear


def test_activations_are_not_implemented():
    model = frozen_model("qint8")
    mapping = {"0": {"weights": "qint8", "activations": "qint8"}}
    with pytest.raises(NotImplementedError, match="activations"):
        quanto.requantize(empty(), model.state_dict(), mapping)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 32)
        self.inner = nn.Linear(32, 32)
        self.head = nn.Linear(32, 20, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("table", torch.arange(4.0), persistent=False)

    def forward(self, ids):
        return self.head(self.inner(self.embed(ids)))


def test_tied_weights_are_tied_again_from_one_key():
    source = Tied()
    quanto.quantize(source, "qint8", include="inner")
    quanto.freeze(source)
    state = source.state_dict()
    del state["head.weight"]
    model = Tied()
    for name, parameter in list(model.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, nn.Parameter(parameter.to("meta")))
    model.head.weight = model.embed.weight
    quanto.requantize(model, state, quanto.quantization_map(source))
    assert model.head.weight is model.embed.weight
    ids = torch.arange(5)
    assert torch.equal(model(ids), source(ids))


def test_buffers_without_values_are_refused():
    source = Tied()
    quanto.quantize(source, "qint8", include="inner")
    quanto.freeze(source)
    with torch.device("meta"):
        model = Tied()
    with pytest.raises(ValueError, match="expected values in table"):
        quanto.requantize(model, source.state_dict(), quanto.quantization_map(source))


def test_device_is_the_first_parameters_or_the_one_asked_for():
    source = frozen_model("qint8")
    model = float_model()
    quanto.requantize(model, source.state_dict(), quanto.quantization_map(source), device="meta")
    assert all(t.is_meta for t in model.state_dict().values())
