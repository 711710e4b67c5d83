# SPDX-License-Identifier: Apache-2.0
"""The models that optimum-quanto saved, and how near to its logits those of a reload must be."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerances import CODE_STEPS, MODEL_ERROR

import quanto

ROOT = Path(__file__).parents[1] / "golden" / "quanto" / "checkpoints"
FLOAT = ROOT / "llama-float"
CASES = json.loads((ROOT / "index.json").read_text())["cases"]
every_checkpoint = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


def expected(case, logits):
    """Input ids, and the logits of that name; those of the model in memory if they are the same."""
    tensors = load_file(ROOT / case["name"] / "expected.safetensors")
    return tensors["input_ids"], tensors.get(logits, tensors["logits"]).double()


def logits_of(model, input_ids):
    with torch.no_grad():
        logits = model(input_ids).logits
    return (logits.dequantize() if isinstance(logits, quanto.QTensor) else logits).double()


def empty_model(folder, dtype):
    """A float model whose parameters are on the meta device and whose buffers are not."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    for name, parameter in list(model.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(parameter.to("meta")))
    return model.eval()


def dense_twin(model):
    """The float model with the values of the quantized weights, in float64."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    automatic = transformers.AutoModelForCausalLM
    twin = automatic.from_config(model.config, dtype=torch.float64).eval()
    for name, parameter in twin.named_parameters():
        owner, _, leaf = name.rpartition(".")
        mine = getattr(model.get_submodule(owner), leaf).detach()
        parameter.data = (mine.dequantize() if isinstance(mine, quanto.QTensor) else mine).double()
    return twin


def check_logits(model, case, logits):
    """The model's logits against the library's; see the tolerances for what is allowed."""
    input_ids, theirs = expected(case, logits)
    mine = logits_of(model, input_ids)
    if case["activations"] is None:
        exact = logits_of(dense_twin(model), input_ids)
        assert (mine - exact).abs().max() <= MODEL_ERROR * (theirs - exact).abs().max()
        return
    kind = quanto.qtypes[case["activations"]]
    scale = model.lm_head.output_scale.double()
    steps = ordered_codes(mine / scale, kind) - ordered_codes(theirs / scale, kind)
    assert steps.abs().max() <= CODE_STEPS


def ordered_codes(values, kind):
    """For values that are codes: integers in the order of the codes, next to each other."""
    if not kind.is_floating_point:
        return values.round().long()
    bits = values.to(kind.dtype).view(torch.int8).long()
    return torch.where(bits < 0, -(bits + 128), bits)
