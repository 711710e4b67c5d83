# SPDX-License-Identifier: Apache-2.0
"""Whole models that optimum-quanto saved: every file, through every way of reloading it."""

import json

import pytest
import torch
from checkpoints import ROOT, check_logits, empty_model, every_checkpoint
from safetensors.torch import load_file

import quanto

pytest.importorskip("transformers", reason="transformers is not installed")

MAPS = ["quanto_qmap.json", "quantization_map.json"]


def saved_map(case, name="quanto_qmap.json"):
    return json.loads((ROOT / case["name"] / name).read_text())


@every_checkpoint
def test_from_pretrained(case):
    model = quanto.QuantizedModelForCausalLM.from_pretrained(ROOT / case["name"])
    assert not any(t.is_meta for t in model.state_dict().values())
    assert not model.training
    check_logits(model, case, "logits_reloaded")


@every_checkpoint
@pytest.mark.parametrize("name", MAPS)
def test_safetensors(case, name):
    folder = ROOT / case["name"]
    state = load_file(folder / "model.safetensors")
    model = empty_model(folder, getattr(torch, case["dtype"]))
    quanto.requantize(model, state, saved_map(case, name))
    assert set(model.state_dict()) == set(state)
    check_logits(model, case, "logits_reloaded")


PICKLED = [c for c in every_checkpoint.args[1] if "torch.save(state_dict)" in c["files"]]


@pytest.mark.parametrize("case", PICKLED, ids=[case["name"] for case in PICKLED])
def test_pickled(case):
    folder = ROOT / case["name"]
    state = torch.load(folder / case["files"]["torch.save(state_dict)"], weights_only=True)
    model = empty_model(folder, getattr(torch, case["dtype"]))
    quanto.requantize(model, state, saved_map(case))
    check_logits(model, case, "logits_requantize")


@every_checkpoint
def test_ours_survives_pickle_and_safetensors(case, tmp_path):
    model = quanto.QuantizedModelForCausalLM.from_pretrained(ROOT / case["name"])
    mapping = json.loads(json.dumps(quanto.quantization_map(model._wrapped)))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    quanto.safe_save(model.state_dict(), tmp_path / "state.safetensors")
    for state in (
        torch.load(tmp_path / "state.pt", weights_only=True),
        quanto.safe_load(tmp_path / "state.safetensors"),
    ):
        again = empty_model(ROOT / case["name"], getattr(torch, case["dtype"]))
        quanto.requantize(again, state, mapping)
        assert quanto.quantization_map(again) == mapping
        ids = torch.arange(8)[None]
        with torch.no_grad():
            mine, theirs = again(ids).logits, model(ids).logits
        assert type(mine) is type(theirs)
        assert torch.equal(mine, theirs)


@every_checkpoint
def test_map_keys_shapes_and_dtypes_are_those_of_the_library(case):
    folder = ROOT / case["name"]
    theirs = saved_map(case)
    model = empty_model(folder, getattr(torch, case["dtype"]))
    include, exclude = case.get("include"), case.get("exclude")
    weights, activations = case["weights"], case["activations"]
    quanto.quantize(model, weights, activations, include=include, exclude=exclude)
    mine = quanto.quantization_map(model)
    assert list(mine) == list(theirs)
    for name, entry in theirs.items():
        assert {key: mine[name][key] for key in entry} == entry
    state = load_file(folder / "model.safetensors")
    quanto.freeze(model)
    shapes = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
    assert shapes == {name: (t.shape, t.dtype) for name, t in state.items()}
