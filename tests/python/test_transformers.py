# SPDX-License-Identifier: Apache-2.0
"""transformers' QuantoConfig: with the stock quantizer, and with ours in its place."""

import json

import pytest
import torch
from hf_models import IDS, every_weight, llama, logits, saved_llama
from safetensors.torch import load_file, save_file
from torch import nn

import quanto
from quanto import QLinear

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
auto = pytest.importorskip("transformers.quantizers.auto")
AutoModelForCausalLM = transformers.AutoModelForCausalLM


def our_config():
    return auto.AUTO_QUANTIZATION_CONFIG_MAPPING["quanto"]


@pytest.fixture
def stock(monkeypatch):
    """The entries as transformers made them."""
    from transformers.quantizers.quantizer_quanto import QuantoHfQuantizer

    monkeypatch.setitem(auto.AUTO_QUANTIZER_MAPPING, "quanto", QuantoHfQuantizer)
    monkeypatch.setitem(auto.AUTO_QUANTIZATION_CONFIG_MAPPING, "quanto", transformers.QuantoConfig)
    return QuantoHfQuantizer


def quantized_from(path, config, **options):
    return AutoModelForCausalLM.from_pretrained(path, quantization_config=config, **options)


def by_hand(path, weights, exclude=("lm_head",), **options):
    """The oracle: the float model, quantized and frozen."""
    model = AutoModelForCausalLM.from_pretrained(path, **options)
    quanto.quantize(model, weights=weights, exclude=list(exclude))
    quanto.freeze(model)
    return model


def edit_file(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def edit_config(path, **changes):
    file = path / "config.json"
    config = json.loads(file.read_text())
    config["quantization_config"].update(changes)
    file.write_text(json.dumps(config))


@every_weight
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_stock_quantizer_gives_the_model_of_quantize_and_freeze(tmp_path, stock, weights, dtype):
    path = saved_llama(tmp_path)
    model = quantized_from(path, transformers.QuantoConfig(weights=weights), dtype=dtype)
    assert type(model.hf_quantizer) is stock
    assert torch.equal(logits(model), logits(by_hand(path, weights, dtype=dtype)))
    assert type(model.lm_head) is nn.Linear
    generated = model.generate(IDS, max_new_tokens=3, do_sample=False)
    assert generated.shape == (1, IDS.shape[1] + 3)


def test_stock_quantizer_leaves_the_modules_named(tmp_path, stock):
    path = saved_llama(tmp_path)
    config = transformers.QuantoConfig("int8", modules_to_not_convert=["down_proj"])
    model = quantized_from(path, config)
    assert isinstance(model.lm_head, QLinear)
    assert type(model.model.layers[0].mlp.down_proj) is nn.Linear
    assert torch.equal(logits(model), logits(by_hand(path, "int8", ["*.down_proj"])))


def test_stock_quantizer_refuses_a_checkpoint_of_ours(tmp_path, stock):
    model = llama()
    quanto.quantize(model, weights="int8")
    quanto.freeze(model)
    quanto.save_pretrained(model, tmp_path)
    with pytest.raises(ValueError, match="expected `import quanto` before"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


@every_weight
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_on_the_fly_saved_and_loaded_twice(tmp_path, weights, dtype):
    path = saved_llama(tmp_path / "float")
    model = quantized_from(path, transformers.QuantoConfig(weights=weights), dtype=dtype)
    expected = logits(by_hand(path, weights, dtype=dtype))
    assert torch.equal(logits(model), expected)
    for name in ("first", "second"):
        model.save_pretrained(tmp_path / name)
        model, report = AutoModelForCausalLM.from_pretrained(
            tmp_path / name, output_loading_info=True
        )
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys"))
        assert model.dtype is dtype
        assert torch.equal(logits(model), expected)
    assert model.generate(IDS, max_new_tokens=2, do_sample=False).shape == (1, IDS.shape[1] + 2)


def test_what_is_written(tmp_path):
    path = saved_llama(tmp_path / "float")
    quantized_from(path, our_config()("int4", group_size=32)).save_pretrained(tmp_path / "q")
    written = json.loads((tmp_path / "q" / "config.json").read_text())["quantization_config"]
    modules = written.pop("modules")
    module = modules["model.layers.1.mlp.down_proj"]
    assert written == {
        "quant_method": "quanto",
        "format_version": 1,
        "weights": "int4",
        "activations": None,
        "dynamic": False,
        "group_size": 32,
        "modules_to_not_convert": ["lm_head"],
    }
    assert (module["weights"], module["group_size"], module["version"]) == ("qint4", 32, 1)
    from safetensors import safe_open

    with safe_open(tmp_path / "q" / "model.safetensors", "pt") as file:
        metadata = file.metadata()
        packed = file.get_tensor("model.layers.1.mlp.down_proj.weight._data._data")
    assert packed.dtype is torch.uint8
    described = json.loads(metadata.pop("quanto_weights"))
    assert metadata == {"format": "pt", "quanto_format_version": "1"}
    assert described.keys() == modules.keys()
    assert described["model.layers.1.mlp.down_proj"] == {
        "qtype": "qint4",
        "axis": 0,
        "group_size": 32,
        "shape": [64, 160],
        "shift": "float",
        "packing": "rows",
    }


def test_dynamic_activations_are_saved(tmp_path):
    path = saved_llama(tmp_path / "float")
    config = our_config()("int8", activations="int8", dynamic=True)
    model = quantized_from(path, config)
    expected = llama()
    quanto.quantize(expected, weights="int8", activations="int8", dynamic=True, exclude="lm_head")
    quanto.freeze(expected)
    assert torch.equal(logits(model), logits(expected))
    model.save_pretrained(tmp_path / "q")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "q")
    assert again.model.layers[0].mlp.up_proj.dynamic
    assert torch.equal(logits(again), logits(expected))


def test_activations_calibrated_after_loading_survive(tmp_path):
    path = saved_llama(tmp_path / "float")
    model = quantized_from(path, transformers.QuantoConfig("int8", activations="int8"))
    with torch.no_grad(), quanto.Calibration():
        model(IDS)
    expected = logits(model)
    model.save_pretrained(tmp_path / "q")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "q")
    projection = again.model.layers[0].mlp.up_proj
    assert projection.input_scale != 1
    assert torch.equal(logits(again), expected)
    assert not torch.equal(expected, logits(by_hand(path, "int8")))


def test_a_tied_head_stays_float_with_one_warning(tmp_path):
    path = saved_llama(tmp_path / "float", tie_word_embeddings=True)
    config = transformers.QuantoConfig("int8", modules_to_not_convert=["down_proj"])
    with pytest.warns(UserWarning, match=r"left float.*lm_head \(with model.embed_tokens"):
        model = quantized_from(path, config)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    model.save_pretrained(tmp_path / "q")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "q")
    assert torch.equal(logits(again), logits(model))
    assert again.lm_head.weight is again.model.embed_tokens.weight


def test_the_base_of_a_saved_model(tmp_path):
    path = saved_llama(tmp_path / "float")
    model = quantized_from(path, transformers.QuantoConfig("int8"))
    model.save_pretrained(tmp_path / "q")
    base = transformers.AutoModel.from_pretrained(tmp_path / "q")
    with torch.no_grad():
        expected = model.model(IDS).last_hidden_state
        assert torch.equal(base(IDS).last_hidden_state, expected)


def test_a_checkpoint_in_shards(tmp_path):
    path = saved_llama(tmp_path / "float")
    model = quantized_from(path, transformers.QuantoConfig("int4"))
    model.save_pretrained(tmp_path / "q", max_shard_size="20kB")
    assert len(list((tmp_path / "q").glob("*.safetensors"))) > 1
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "q")
    assert torch.equal(logits(again), logits(model))


def test_loading_in_another_dtype(tmp_path):
    path = saved_llama(tmp_path / "float")
    quantized_from(path, transformers.QuantoConfig("int8")).save_pretrained(tmp_path / "q")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "q", dtype=torch.bfloat16)
    layer = model.model.layers[0].mlp.up_proj
    assert layer.weight.dtype is torch.bfloat16
    assert layer.weight._data.dtype is torch.int8
    assert logits(model).dtype is torch.bfloat16


def remove(suffix):
    def change(tensors):
        tensors.pop(next(key for key in tensors if key.endswith(suffix)))

    return change


def rename(old, new):
    def change(tensors):
        key = next(key for key in tensors if key.endswith(old))
        tensors[key.removesuffix(old) + new] = tensors.pop(key)

    return change


def cut(suffix):
    def change(tensors):
        key = next(key for key in tensors if key.endswith(suffix))
        tensors[key] = tensors[key][:4].clone()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("up_proj.weight._scale"), r"missing keys: .*up_proj\.weight\._scale"),
        (remove("norm.weight"), r"missing keys: .*norm\.weight"),
        (remove("up_proj.input_scale"), r"missing keys: .*up_proj\.input_scale"),
        (rename("up_proj.weight._data", "up_proj.weight._shift"), r"missing keys: .*_data"),
        (rename("q_proj.input_scale", "q_proj.extra"), r"unexpected keys: .*q_proj\.extra"),
        (cut("up_proj.weight._data"), r"up_proj.*size mismatch for weight\._data"),
    ],
    ids=["inner", "float", "scale", "kind", "unexpected", "shape"],
)
def test_a_damaged_checkpoint_is_never_loaded(tmp_path, change, message):
    path = saved_llama(tmp_path / "float")
    quantized_from(path, transformers.QuantoConfig("int8")).save_pretrained(tmp_path / "q")
    edit_file(tmp_path / "q" / "model.safetensors", change)
    with pytest.raises(ValueError, match=message):
        AutoModelForCausalLM.from_pretrained(tmp_path / "q")


def test_a_newer_format_is_one_clear_error(tmp_path):
    path = saved_llama(tmp_path / "float")
    quantized_from(path, transformers.QuantoConfig("int8")).save_pretrained(tmp_path / "q")
    edit_config(tmp_path / "q", format_version=2, something="new")
    with pytest.raises(ValueError, match="expected format_version 1 at most, got 2"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "q")


def test_a_map_that_does_not_fit_is_an_error(tmp_path):
    path = saved_llama(tmp_path / "float")
    quantized_from(path, transformers.QuantoConfig("int8")).save_pretrained(tmp_path / "q")
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    modules = config["quantization_config"]["modules"]
    edit_config(tmp_path / "q", modules={"nobody": next(iter(modules.values()))})
    with pytest.raises(ValueError, match="expected a module nobody in the model"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "q")


def test_a_checkpoint_without_version_is_read_by_the_predecessors_rules(tmp_path):
    path = saved_llama(tmp_path / "float")
    model = quantized_from(path, transformers.QuantoConfig("int4"))
    model.save_pretrained(tmp_path / "q")
    file = tmp_path / "q" / "config.json"
    config = json.loads(file.read_text())
    config["quantization_config"] = {
        "quant_method": "quanto",
        "weights": "int4",
        "activations": None,
        "modules_to_not_convert": None,
    }
    file.write_text(json.dumps(config))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "q")
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "int3"}, "expected one of"),
        ({"dynamic": True}, "expected a type for dynamic activations"),
        ({"weights": "int8", "color": "red"}, "expected no color"),
        ({"format_version": 1}, "expected the quantization map"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        our_config()(**arguments)


def test_an_unfrozen_model_is_not_saved(tmp_path):
    path = saved_llama(tmp_path / "float")
    model = quantized_from(path, transformers.QuantoConfig("int8"))
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = nn.Parameter(layer.weight.dequantize())
    with pytest.raises(ValueError, match="up_proj"):
        model.save_pretrained(tmp_path / "q")


def test_an_adapter_trains_on_a_loaded_model(tmp_path):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    path = saved_llama(tmp_path / "float")
    quantized_from(path, transformers.QuantoConfig("int4")).save_pretrained(tmp_path / "q")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "q")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    tuned = peft.get_peft_model(model, config)
    before = tuned(IDS, labels=IDS).loss
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], lr=1.0)
    for _ in range(5):
        optimizer.zero_grad()
        tuned(IDS, labels=IDS).loss.backward()
        optimizer.step()
    assert tuned(IDS, labels=IDS).loss < before


@every_weight
def test_disk_offload_of_a_checkpoint(tmp_path, weights):
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    path = saved_llama(tmp_path / "float")
    model = quantized_from(path, transformers.QuantoConfig(weights), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "q")
    parts = ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head", "model.layers.0")
    device_map = dict.fromkeys(parts, "cpu") | {"model.layers.1": "disk"}
    offloaded = AutoModelForCausalLM.from_pretrained(
        tmp_path / "q", device_map=device_map, offload_folder=tmp_path / "offload"
    )
    assert offloaded.model.layers[1].mlp.up_proj.weight.device.type == "meta"
    assert torch.equal(logits(offloaded), logits(model))


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}], ids=str)
def test_device_maps(tmp_path, device_map):
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    path = saved_llama(tmp_path / "float")
    model = quantized_from(path, transformers.QuantoConfig("int8"), device_map=device_map)
    model.save_pretrained(tmp_path / "q")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "q", device_map=device_map)
    assert torch.equal(logits(again), logits(model))


def test_quantizing_on_the_fly_to_the_disk_is_refused(tmp_path):
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    path = saved_llama(tmp_path / "float")
    with pytest.raises(ValueError, match="expected a device_map without disk"):
        quantized_from(path, transformers.QuantoConfig("int8"), device_map={"": "disk"})
