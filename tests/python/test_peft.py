# SPDX-License-Identifier: Apache-2.0
"""Adapters on quantized language models, with and without quantized activations."""

import pytest
import torch
from hf_models import IDS, every_weight, llama, logits
from torch import nn

import quanto
from quanto import QTensor

peft = pytest.importorskip("peft", reason="peft is not installed")

TARGETS = ["q_proj", "v_proj", "up_proj"]
ACTIVATIONS = ["none", "static", "dynamic"]


def quantized(weights, activations):
    model = llama()
    if activations == "none":
        quanto.quantize(model, weights=weights)
    else:
        dynamic = activations == "dynamic"
        quanto.quantize(model, weights=weights, activations="int8", dynamic=dynamic)
    if activations == "static":
        with torch.no_grad(), quanto.Calibration():
            model(IDS)
    quanto.freeze(model)
    return model


def adapted(weights, activations, **options):
    model = quantized(weights, activations)
    torch.manual_seed(3)
    return peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=TARGETS, **options))


@every_weight
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_adapter_trains(weights, activations):
    model = adapted(weights, activations)
    before = model(IDS, labels=IDS).loss
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert not any(isinstance(p, QTensor) for p in trained)
    optimizer = torch.optim.SGD(trained, lr=1.0)
    for _ in range(4):
        optimizer.zero_grad()
        model(IDS, labels=IDS).loss.backward()
        assert all(p.grad is not None for p in trained)
        optimizer.step()
    assert model(IDS, labels=IDS).loss < before


def merged_weights(model):
    """By module: the float weight that a merge stands for, and the largest requantization error.

    Half a step per element, of steps no wider than the range of the whole weight allows.
    """
    wanted = {}
    for name, layer in model.base_model.model.named_modules():
        if isinstance(layer, peft.tuners.lora.Linear):
            values = layer.base_layer.weight.dequantize() + layer.get_delta_weight("default")
            wanted[name] = values.detach()
    return wanted


STEPS = {"int8": 2 * 127, "float8": 2 * 8, "int4": 2 * 15, "int2": 2 * 3}


@every_weight
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_merging_is_right_within_requantization(weights, activations):
    model = adapted(weights, activations, init_lora_weights=False).eval()
    wanted = merged_weights(model)
    merged = model.merge_and_unload()
    assert len(wanted) == 3 * merged.config.num_hidden_layers
    for name, values in wanted.items():
        layer = merged.get_submodule(name)
        assert isinstance(layer, quanto.QLinear)
        assert isinstance(layer.weight, QTensor)
        span = values.amax() - values.amin() if "t4" in weights or "t2" in weights else None
        span = 2 * values.abs().amax() if span is None else span
        rounding = 4 * torch.finfo(torch.float32).eps * values.abs().amax()
        error = (layer.weight.dequantize() - values).abs().amax()
        assert error <= span / STEPS[weights] + rounding
        assert (layer.activation_qtype is None) == (activations == "none")
    assert not torch.equal(dense(logits(merged)), dense(logits(quantized(weights, activations))))


def dense(values):
    return values.dequantize() if isinstance(values, QTensor) else values


def test_a_merged_model_is_saved(tmp_path):
    merged = adapted("int8", "dynamic", init_lora_weights=False).merge_and_unload().eval()
    quanto.save_pretrained(merged, tmp_path)
    assert torch.equal(logits(quanto.load(tmp_path)), logits(merged))


def test_the_model_under_an_adapter_is_unchanged():
    model = adapted("int4", "none", init_lora_weights=False).eval()
    with model.disable_adapter():
        inside = logits(model)
    assert torch.equal(inside, logits(quantized("int4", "none")))
    assert not torch.equal(inside, logits(model))
    assert isinstance(model.base_model.model.lm_head, nn.Linear)
