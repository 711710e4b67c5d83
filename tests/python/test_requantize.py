# SPDX-License-Identifier: Apache-2.0
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
        "unknown type": (
            state,
            {**mapping, "0": {"weights": "int9", "activations": "none"}},
            "expected one of qint2",
        ),
        "no types": (
            state,
            {**mapping, "0": {"weights": "qint8"}},
            "expected activations for 0, got none",
        ),
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


class Twice(nn.Module):
    """One module at two names, and two modules with one weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.again = self.first
        self.left = nn.Linear(8, 8, bias=False)
        self.right = nn.Linear(8, 8, bias=False)
        self.right.weight = self.left.weight

    def forward(self, x):
        return self.right(self.left(self.again(self.first(x))))


@pytest.mark.parametrize("lost", [[], ["right"], ["left"], ["again", "left"], ["first"]])
@every_scheme
def test_shared_modules_and_weights_are_kept_once(scheme, lost):
    torch.manual_seed(0)
    source = Twice()
    quanto.quantize(source, scheme)
    quanto.freeze(source)
    kept = {k: t for k, t in source.state_dict().items() if k.partition(".")[0] not in lost}
    kept.update({k: t for k, t in source.state_dict().items() if k.endswith("put_scale")})
    with torch.device("meta"):
        model = Twice()
    quanto.requantize(model, kept, quanto.quantization_map(source))
    assert model.again is model.first
    assert model.right.weight is model.left.weight
    x = torch.randn(2, 8)
    assert torch.equal(model(x), source(x))


def test_tied_modules_with_other_codes_stay_apart():
    torch.manual_seed(0)
    source = Twice()
    source.right = nn.Linear(8, 8, bias=False)
    quanto.quantize(source, "qint8")
    quanto.freeze(source)
    with torch.device("meta"):
        model = Twice()
    quanto.requantize(model, source.state_dict(), quanto.quantization_map(source))
    assert model.right.weight is not model.left.weight
    x = torch.randn(2, 8)
    assert torch.equal(model(x), source(x))


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 32)
        self.head = nn.Linear(32, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.embed(ids))


@pytest.mark.parametrize("activations", [None, "qint8"])
@pytest.mark.parametrize("lost", ["", "embed.weight.", "head.weight."])
@every_scheme
def test_tied_embeddings_are_kept_once(scheme, lost, activations):
    torch.manual_seed(0)
    source = Language()
    dynamic = activations is not None
    include = ["embed", "head"]
    quanto.quantize(source, scheme, activations, include=include, dynamic=dynamic)
    quanto.freeze(source)
    assert source.head.weight is source.embed.weight
    state = {k: t for k, t in source.state_dict().items() if not (lost and k.startswith(lost))}
    with torch.device("meta"):
        model = Language()
    quanto.requantize(model, state, quanto.quantization_map(source))
    assert model.head.weight is model.embed.weight
    assert torch.equal(model(torch.arange(5)), source(torch.arange(5)))


def test_entries_of_one_module_must_agree():
    source = Twice()
    quanto.quantize(source, "qint8")
    quanto.freeze(source)
    mapping = quanto.quantization_map(source)
    mapping["again"] = {**mapping["first"], "weights": "qfloat8"}
    with pytest.raises(ValueError, match="expected equal entries for first and again"):
        quanto.requantize(Twice(), source.state_dict(), mapping)


def test_the_predecessors_empty_weight_of_a_layer_norm():
    source = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8, elementwise_affine=False))
    quanto.quantize(source, "qint8", activations="qint8")
    quanto.freeze(source)
    state = {**source.state_dict(), "1.weight": None}
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8, elementwise_affine=False))
    quanto.requantize(model, state, quanto.quantization_map(source))
    assert isinstance(model[1], quanto.QLayerNorm)


def test_tied_float_tensors_must_be_equal():
    source = Tied()
    quanto.quantize(source, "qint8", include="inner")
    quanto.freeze(source)
    state = {key: tensor.clone() for key, tensor in source.state_dict().items()}
    model = Tied()
    quanto.requantize(model, state, quanto.quantization_map(source))
    assert model.head.weight is model.embed.weight
    state["head.weight"][0, 0] += 1
    with pytest.raises(ValueError, match=r"equal tensors for embed\.weight and head\.weight"):
        quanto.requantize(Tied(), state, quanto.quantization_map(source))
