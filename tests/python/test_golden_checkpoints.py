"""Whole models that optimum-quanto saved, reloaded by `requantize`."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerances import MODEL_ERROR

import quanto

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

ROOT = Path(__file__).parents[1] / "golden" / "quanto" / "checkpoints"
CASES = [
    case
    for case in json.loads((ROOT / "index.json").read_text())["cases"]
    if case["activations"] is None
]
every_checkpoint = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


def empty_model(folder, dtype):
    """A float model whose parameters are on the meta device and whose buffers are not."""
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    for name, parameter in list(model.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(parameter.to("meta")))
    return model.eval()


def states(case, folder):
    """Each file with the logits that the library computes from it."""
    expected = load_file(folder / "expected.safetensors")
    logits = expected.get("logits_reloaded", expected["logits"])
    yield load_file(folder / "model.safetensors"), expected["input_ids"], logits
    pickled = case["files"].get("torch.save(state_dict)")
    if pickled is not None:
        state = torch.load(folder / pickled, weights_only=True)
        logits = expected.get("logits_requantize", expected["logits"])
        yield state, expected["input_ids"], logits


def logits_of(model, input_ids):
    with torch.no_grad():
        return model(input_ids).logits.double()


def dense_twin(model, folder):
    """The float model with the values of the quantized weights, in float64."""
    config = transformers.AutoConfig.from_pretrained(folder)
    twin = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float64).eval()
    wide = copy.deepcopy(model).float()
    values = {
        name: t.dequantize() if isinstance(t, quanto.QTensor) else t
        for name, t in wide.named_parameters()
    }
    twin.load_state_dict(values, strict=True)
    return twin


@every_checkpoint
def test_logits_are_those_of_the_library(case):
    folder = ROOT / case["name"]
    quantization_map = json.loads((folder / "quanto_qmap.json").read_text())
    for state, input_ids, theirs in states(case, folder):
        model = empty_model(folder, getattr(torch, case["dtype"]))
        quanto.requantize(model, state, quantization_map)
        assert not any(t.is_meta for t in model.state_dict().values())
        exact = logits_of(dense_twin(model, folder), input_ids)
        error = (logits_of(model, input_ids) - exact).abs().max()
        assert error <= MODEL_ERROR * (theirs.double() - exact).abs().max()
        assert set(model.state_dict()) == set(state)


@every_checkpoint
def test_map_is_that_of_the_library(case):
    folder = ROOT / case["name"]
    theirs = json.loads((folder / "quanto_qmap.json").read_text())
    model = empty_model(folder, getattr(torch, case["dtype"]))
    include, exclude = case.get("include"), case.get("exclude")
    quanto.quantize(model, weights=case["weights"], include=include, exclude=exclude)
    mine = quanto.quantization_map(model)
    assert list(mine) == list(theirs)
    for name, entry in theirs.items():
        assert {key: mine[name][key] for key in entry} == entry
    state = load_file(folder / "model.safetensors")
    quanto.freeze(model)
    shapes = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
    assert shapes == {name: (t.shape, t.dtype) for name, t in state.items()}
