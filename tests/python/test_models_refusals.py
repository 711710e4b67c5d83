# SPDX-License-Identifier: Apache-2.0
"""What the wrappers of transformers' models refuse to wrap, quantize or load."""

import json

import pytest
from checkpoints import FLOAT
from torch import nn
from wrapped_models import float_model, quantized

from quanto import QuantizedModelForCausalLM, QuantizedTransformersModel


def refusals(tmp_path):
    (tmp_path / "config.json").write_text((FLOAT / "config.json").read_text())
    (tmp_path / "quanto_qmap.json").write_text("{}")
    foreign = nn.Sequential(nn.Linear(4, 4))
    return {
        "The source model must be a quantized transformers model": lambda: (
            QuantizedModelForCausalLM(float_model())
        ),
        "The source model must be a transformers model": lambda: QuantizedModelForCausalLM.quantize(
            foreign, weights="qint8"
        ),
        "No quantization map found in .*llama-float: is this a quantized model": lambda: (
            QuantizedModelForCausalLM.from_pretrained(FLOAT)
        ),
        "No safetensor weights found in": lambda: QuantizedModelForCausalLM.from_pretrained(
            tmp_path
        ),
        "Quantized models cannot be reloaded using QuantizedTransformersModel": lambda: (
            QuantizedTransformersModel.from_pretrained(tmp_path)
        ),
    }


@pytest.mark.parametrize("index", range(5))
def test_refused(index, tmp_path):
    message, call = list(refusals(tmp_path).items())[index]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("text", ["{", "[]"])
def test_malformed_maps(text, tmp_path):
    quantized().save_pretrained(tmp_path)
    (tmp_path / "quanto_qmap.json").write_text(text)
    with pytest.raises(ValueError, match=r"quanto_qmap\.json: expected a quantization map"):
        QuantizedModelForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("index", ['{"weight_map": {"a": "../x.safetensors"}}', "{}", "3"])
def test_malformed_indexes(index, tmp_path):
    quantized().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match=r"index\.json: expected"):
        QuantizedModelForCausalLM.from_pretrained(tmp_path)


def test_shards_and_index_must_agree(tmp_path):
    quantized("qint4").save_pretrained(tmp_path, max_shard_size="40KB")
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    moved, shard = next(iter(index["weight_map"].items()))
    other = next(name for name in index["weight_map"].values() if name != shard)
    for change in ({moved: other}, {"new": "x"}, {"new": shard}):
        weight_map = {**index["weight_map"], **change}
        path.write_text(json.dumps({**index, "weight_map": weight_map}))
        with pytest.raises(ValueError, match=r"index\.json: expected"):
            QuantizedModelForCausalLM.from_pretrained(tmp_path)
