# SPDX-License-Identifier: Apache-2.0
"""Wrapped language models whose head is, or was, tied to the embedding."""

import json
import warnings

import torch
from safetensors.torch import load_file
from torch import nn
from wrapped_models import every_scheme, float_model, logits

from quanto import QuantizedModelForCausalLM


def test_a_tied_head_stays_tied(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = QuantizedModelForCausalLM.quantize(
            float_model(tie_word_embeddings=True), weights="qint8"
        )
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    again = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert torch.equal(logits(again), logits(model))


@every_scheme
def test_a_tied_head_and_embedding_are_written_once(scheme, tmp_path):
    model = float_model(tie_word_embeddings=True)
    wrapper = QuantizedModelForCausalLM.quantize(
        model, weights=scheme, include=["*_proj", "lm_head", "*embed_tokens"]
    )
    wrapper.save_pretrained(tmp_path)
    keys = [key for key in load_file(tmp_path / "model.safetensors") if "_data" in key]
    assert sum("lm_head" in key or "embed" in key for key in keys) == 1
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"]
    again = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert torch.equal(logits(again), logits(wrapper))


def test_a_head_that_is_quantized_apart_is_no_longer_tied(tmp_path):
    model = float_model(tie_word_embeddings=True)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    wrapper = QuantizedModelForCausalLM.quantize(model, weights="qint8")
    wrapper.save_pretrained(tmp_path)
    assert not json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"]
    assert model.config.tie_word_embeddings
    again = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again), logits(wrapper))


def test_a_float_head_of_its_own_is_no_longer_tied(tmp_path):
    model = float_model(tie_word_embeddings=True)
    model.lm_head.weight = nn.Parameter(2 * model.lm_head.weight.detach())
    wrapper = QuantizedModelForCausalLM.quantize(model, weights="qint8", exclude="lm_head")
    wrapper.save_pretrained(tmp_path)
    again = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again), logits(wrapper))
