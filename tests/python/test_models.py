# SPDX-License-Identifier: Apache-2.0
"""The wrappers of transformers' models: what they write and reload."""

import copy
import json
from pathlib import Path

import pytest
import torch
from checkpoints import FLOAT, ROOT
from safetensors.torch import load_file
from torch import nn
from wrapped_models import IDS, every_scheme, logits, quantized, transformers

import quanto
from quanto import QuantizedModelForCausalLM, QuantizedTransformersModel


@every_scheme
def test_what_is_saved_is_reloaded(scheme, tmp_path):
    model = quantized(scheme, exclude="lm_head")
    assert model.save_pretrained(tmp_path / "new" / "folder") is None
    found = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert found == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "quanto_qmap.json",
    }
    again = QuantizedModelForCausalLM.from_pretrained(tmp_path / "new" / "folder")
    assert torch.equal(logits(again), logits(model))
    assert again.generate(IDS, max_new_tokens=2, do_sample=False).shape == (1, 10)


def test_activations_are_reloaded_as_they_were(tmp_path):
    model = quantized(activations="qint8")
    with torch.no_grad(), quanto.Calibration():
        model(IDS)
    model.save_pretrained(tmp_path)
    again = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    assert quanto.quantization_map(again._wrapped) == quanto.quantization_map(model._wrapped)
    assert torch.equal(logits(again), logits(model))


def test_files_are_the_predecessors(tmp_path):
    folder = ROOT / "llama-qint8"
    model = transformers.AutoModelForCausalLM.from_pretrained(FLOAT)
    QuantizedModelForCausalLM.quantize(model, weights="qint8").save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(
        (folder / "config.json").read_text()
    )
    mine, theirs = (load_file(path / "model.safetensors") for path in (tmp_path, folder))
    assert list(mine) == list(theirs)
    for key, tensor in theirs.items():
        assert mine[key].dtype == tensor.dtype, key
        assert torch.equal(mine[key], tensor), key
    text = (tmp_path / "quanto_qmap.json").read_text()
    assert text == json.dumps(json.loads(text), indent=4)
    assert list(json.loads(text)) == list(json.loads((folder / "quanto_qmap.json").read_text()))


def test_shards_and_the_files_of_an_earlier_save(tmp_path):
    model = quantized("qint4")
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again), logits(model))
    again.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]
    assert torch.equal(logits(again), logits(model))
    once_more = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(once_more), logits(model))


def test_a_save_that_fails_leaves_the_old_files(tmp_path, monkeypatch):
    model = quantized()
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    monkeypatch.setattr("quanto.models.wrapper.quantization_map", lambda model: {"m": object()})
    with pytest.raises(TypeError):
        quanto.models.QuantizedTransformersModel._save_pretrained(model, tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before


def test_attributes_are_those_of_the_model():
    wrapper = quantized()
    model = wrapper._wrapped
    assert wrapper.to("cpu") is model
    assert wrapper.config is model.config
    assert "lm_head" in dir(wrapper)
    assert repr(wrapper) == repr(model)
    assert torch.equal(wrapper.forward(IDS).logits, wrapper(input_ids=IDS).logits)
    wrapper.note = 3
    assert model.note == 3
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        _ = wrapper.absent
    assert not isinstance(wrapper, nn.Module)
    twin = copy.deepcopy(wrapper)
    assert twin._wrapped is not model
    assert torch.equal(logits(twin), logits(wrapper))


def test_dtype_of_a_reload(tmp_path):
    quantized("qint4").save_pretrained(tmp_path)
    for options in ({"dtype": torch.bfloat16}, {"torch_dtype": "bfloat16"}):
        model = QuantizedModelForCausalLM.from_pretrained(tmp_path, **options)
        assert logits(model).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="expected a float dtype, got 'int8'"):
        QuantizedModelForCausalLM.from_pretrained(tmp_path, dtype="int8")
    assert logits(QuantizedModelForCausalLM.from_pretrained(tmp_path, dtype="auto")).dtype == (
        torch.float32
    )


def test_options_that_nothing_reads_are_named(tmp_path):
    quantized().save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="ignored, as nothing reads them: nonsense$"):
        QuantizedModelForCausalLM.from_pretrained(
            tmp_path, nonsense=1, local_files_only=True, attn_implementation="eager"
        )


def test_weights_stay_mapped(tmp_path):
    quantized().save_pretrained(tmp_path)
    model = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    start = model.model.layers[0].mlp.up_proj.weight._data.data_ptr()
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = [
        [int(edge, 16) for edge in line.split()[0].split("-")]
        for line in lines
        if line.endswith("model.safetensors")
    ]
    assert any(low <= start < high for low, high in ranges)


def test_a_user_class_for_another_architecture(tmp_path):
    class QuantizedEncoder(QuantizedTransformersModel):
        auto_class = transformers.AutoModel

    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    model = transformers.BertModel(config).eval()
    wrapper = QuantizedEncoder.quantize(model, weights="qint8")
    wrapper.save_pretrained(tmp_path)
    again = QuantizedEncoder.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(IDS).last_hidden_state, wrapper(IDS).last_hidden_state)


def test_a_model_quantized_on_the_fly_can_be_wrapped(tmp_path):
    config = transformers.QuantoConfig(weights="int8")
    model = transformers.AutoModelForCausalLM.from_pretrained(FLOAT, quantization_config=config)
    wrapper = QuantizedModelForCausalLM(model)
    wrapper.save_pretrained(tmp_path)
    again = QuantizedModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again), logits(wrapper))
