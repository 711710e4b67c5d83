# SPDX-License-Identifier: Apache-2.0
"""What the wrappers write is read by optimum-quanto."""

import json
import os
import subprocess

import pytest
import torch
from checkpoints import dense_twin, logits_of
from safetensors.torch import load_file
from tolerances import CODE_STEPS, MODEL_ERROR
from torch import nn
from wrapped_models import IDS, SCHEMES, logits, quantized

import quanto

PEER = """
import sys, torch
from safetensors.torch import save_file
from optimum.quanto import QuantizedModelForCausalLM
found = {}
for folder in sys.argv[2:]:
    model = QuantizedModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        logits = model(torch.arange(8)[None]).logits
    found[folder] = logits.dequantize() if hasattr(logits, "_scale") else logits
save_file(found, sys.argv[1])
"""

PEER_MODULES = """
import json, sys, torch
from safetensors.torch import load_file, save_file
from optimum.quanto import requantize
found = {}
for folder in sys.argv[2:]:
    layers = torch.nn.Conv2d(16, 8, 3), torch.nn.Flatten(), torch.nn.Linear(32, 4)
    model = torch.nn.Sequential(*layers)
    state = torch.load(folder + "/state.pt", weights_only=True)
    requantize(model, state, json.load(open(folder + "/map.json")))
    with torch.no_grad():
        found[folder] = model(load_file(folder + "/x.safetensors")["x"])
save_file(found, sys.argv[1])
"""

needs_the_predecessor = pytest.mark.skipif(
    "QUANTO_PEER_PYTHON" not in os.environ,
    reason="QUANTO_PEER_PYTHON names no Python that has optimum-quanto",
)


def ask_the_predecessor(code, folders, result):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    arguments = [str(result), *map(str, folders)]
    command = [os.environ["QUANTO_PEER_PYTHON"], "-c", code, *arguments]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    found = load_file(result)
    return [found[str(folder)].double() for folder in folders]


@needs_the_predecessor
def test_the_predecessor_reads_what_we_write(tmp_path):
    models = [quantized(scheme, exclude="lm_head") for scheme in SCHEMES]
    folders = []
    for index, model in enumerate(models):
        for size in (None, "40KB"):
            folders.append(tmp_path / f"{index}-{size}")
            model.save_pretrained(folders[-1], max_shard_size=size)
    found = ask_the_predecessor(PEER, folders, tmp_path / "logits.safetensors")
    for index, theirs in enumerate(found):
        model = models[index // 2]
        exact = logits_of(dense_twin(model), IDS)
        assert (logits(model) - exact).abs().max() <= MODEL_ERROR * (theirs - exact).abs().max()


@needs_the_predecessor
def test_the_predecessor_reads_activations(tmp_path):
    model = quantized(activations="qint8")
    with torch.no_grad(), quanto.Calibration(streamline=False):
        model(IDS)
    model.save_pretrained(tmp_path / "model")
    (theirs,) = ask_the_predecessor(PEER, [tmp_path / "model"], tmp_path / "logits.safetensors")
    steps = (theirs - logits_of(model, IDS)) / model.lm_head.output_scale.double()
    assert steps.round().abs().max() <= CODE_STEPS


@needs_the_predecessor
def test_the_predecessor_reads_pickled_convolutions(tmp_path):
    x = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    folders, models = [], []
    for scheme in SCHEMES:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(16, 8, 3), nn.Flatten(), nn.Linear(32, 4))
        quanto.quantize(model, weights=scheme)
        quanto.freeze(model)
        folders.append(tmp_path / scheme)
        folders[-1].mkdir()
        torch.save(model.state_dict(), folders[-1] / "state.pt")
        (folders[-1] / "map.json").write_text(json.dumps(quanto.quantization_map(model)))
        quanto.safe_save({"x": x}, folders[-1] / "x.safetensors")
        models.append(model)
    found = ask_the_predecessor(PEER_MODULES, folders, tmp_path / "out.safetensors")
    for model, theirs in zip(models, found, strict=True):
        dense = nn.Sequential(nn.Conv2d(16, 8, 3), nn.Flatten(), nn.Linear(32, 4)).double()
        for mine, twin in ((model[0], dense[0]), (model[2], dense[2])):
            twin.weight.data = mine.weight.dequantize().double()
            twin.bias.data = mine.bias.detach().double()
        exact = dense(x.double())
        assert (model(x) - exact).abs().max() <= MODEL_ERROR * (theirs - exact).abs().max()
