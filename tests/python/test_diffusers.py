# SPDX-License-Identifier: Apache-2.0
"""diffusers' QuantoConfig: with the stock quantizer, and with ours in its place."""

import json

import pytest
import torch
from hf_models import denoise, every_weight, pixart
from safetensors.torch import load_file, save_file
from torch import nn

import quanto
from quanto import QLinear

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
auto = pytest.importorskip("diffusers.quantizers.auto")
pytestmark = pytest.mark.filterwarnings("ignore:.*Quanto.* is deprecated:FutureWarning")
PixArt = diffusers.PixArtTransformer2DModel

KEPT = ["proj_out", "pos_embed.proj"]  # an exclusion, and the convolution that no quantizer takes


def our_config(*args, **kwargs):
    return auto.AUTO_QUANTIZATION_CONFIG_MAPPING["quanto"](*args, **kwargs)


@pytest.fixture
def stock(monkeypatch):
    """The entries as diffusers made them."""
    from diffusers.quantizers.quanto import QuantoQuantizer

    monkeypatch.setitem(auto.AUTO_QUANTIZER_MAPPING, "quanto", QuantoQuantizer)
    monkeypatch.setitem(auto.AUTO_QUANTIZATION_CONFIG_MAPPING, "quanto", diffusers.QuantoConfig)
    return QuantoQuantizer


def quantized_from(path, weights, config=None, **options):
    config = config or diffusers.QuantoConfig(weights, modules_to_not_convert=["proj_out"])
    return PixArt.from_pretrained(path, quantization_config=config, **options)


def expected_of(path, weights, dtype):
    model = PixArt.from_pretrained(path, torch_dtype=dtype)
    quanto.quantize(model, weights=weights, exclude=KEPT)
    quanto.freeze(model)
    return denoise(model, dtype)


every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


@every_weight
@every_dtype
def test_stock_quantizer(tmp_path, stock, weights, dtype):
    pixart().save_pretrained(tmp_path / "float")
    model = quantized_from(tmp_path / "float", weights, torch_dtype=dtype)
    assert type(model.hf_quantizer) is stock
    expected = expected_of(tmp_path / "float", weights, dtype)
    assert torch.equal(denoise(model, dtype), expected)
    model.save_pretrained(tmp_path / "q")
    again = PixArt.from_pretrained(tmp_path / "q", torch_dtype=dtype)
    assert torch.equal(denoise(again, dtype), expected)


@every_weight
@every_dtype
def test_on_the_fly_saved_and_loaded_twice(tmp_path, weights, dtype):
    pixart().save_pretrained(tmp_path / "float")
    model = quantized_from(tmp_path / "float", weights, torch_dtype=dtype)
    expected = expected_of(tmp_path / "float", weights, dtype)
    assert torch.equal(denoise(model, dtype), expected)
    assert type(model.proj_out) is nn.Linear
    for name in ("first", "second"):
        model.save_pretrained(tmp_path / name)
        model = PixArt.from_pretrained(tmp_path / name, torch_dtype=dtype)
        assert isinstance(model.transformer_blocks[0].attn1.to_q, QLinear)
        assert torch.equal(denoise(model, dtype), expected)


@pytest.mark.parametrize("weights", ["float8_e5m2", "float8_e4m3fnuz"])
@every_dtype
def test_other_types_of_float8(tmp_path, weights, dtype):
    pixart().save_pretrained(tmp_path / "float")
    config = our_config(weights, modules_to_not_convert=["proj_out"])
    model = quantized_from(tmp_path / "float", weights, config, torch_dtype=dtype)
    expected = expected_of(tmp_path / "float", weights, dtype)
    assert torch.equal(denoise(model, dtype), expected)
    model.save_pretrained(tmp_path / "q")
    again = PixArt.from_pretrained(tmp_path / "q", torch_dtype=dtype)
    assert torch.equal(denoise(again, dtype), expected)


@every_weight
def test_what_the_stock_quantizer_saved_is_read_by_ours(tmp_path, monkeypatch, weights):
    from diffusers.quantizers.quanto import QuantoQuantizer

    pixart().save_pretrained(tmp_path / "float")
    with monkeypatch.context() as patch:
        patch.setitem(auto.AUTO_QUANTIZER_MAPPING, "quanto", QuantoQuantizer)
        model = quantized_from(tmp_path / "float", weights)
        model.save_pretrained(tmp_path / "q")
    assert "format_version" not in (tmp_path / "q" / "config.json").read_text()
    again = PixArt.from_pretrained(tmp_path / "q")
    assert torch.equal(denoise(again), denoise(model))


def test_what_is_written(tmp_path):
    pixart().save_pretrained(tmp_path / "float")
    quantized_from(tmp_path / "float", "int8").save_pretrained(tmp_path / "q")
    written = json.loads((tmp_path / "q" / "config.json").read_text())["quantization_config"]
    assert written["quant_method"] == "quanto"
    assert written["format_version"] == 1
    assert written["weights"] == "int8"
    assert "transformer_blocks.0.attn1.to_q" in written["modules"]
    assert "proj_out" not in written["modules"]


def test_dynamic_activations(tmp_path):
    pixart().save_pretrained(tmp_path / "float")
    config = our_config("int8", activations="int8", dynamic=True)
    model = quantized_from(tmp_path / "float", "int8", config)
    by_hand = PixArt.from_pretrained(tmp_path / "float")
    quanto.quantize(
        by_hand, weights="int8", activations="int8", dynamic=True, exclude="pos_embed.proj"
    )
    quanto.freeze(by_hand)
    assert torch.equal(denoise(model), denoise(by_hand))
    model.save_pretrained(tmp_path / "q")
    assert torch.equal(denoise(PixArt.from_pretrained(tmp_path / "q")), denoise(by_hand))


@pytest.mark.parametrize("end", ["attn1.to_q.weight._scale", "attn1.to_q.bias", "input_scale"])
@pytest.mark.parametrize("renamed", [None, "extra"], ids=["missing", "renamed"])
def test_a_damaged_checkpoint_is_never_loaded(tmp_path, end, renamed):
    pixart().save_pretrained(tmp_path / "float")
    quantized_from(tmp_path / "float", "int8").save_pretrained(tmp_path / "q")
    path = tmp_path / "q" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    key = next(key for key in tensors if key.endswith(end))
    value = tensors.pop(key)
    if renamed:
        tensors[f"{key}.{renamed}"] = value
    save_file(tensors, path, {"format": "pt"})
    message = f"missing keys: {key}" + (f"; unexpected keys: {key}.{renamed}" if renamed else "")
    with pytest.raises(ValueError, match=message):
        PixArt.from_pretrained(tmp_path / "q")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:4].clone(), "expected shape"),
        (lambda t: t.float(), r"_data: expected I8, got F32"),
    ],
    ids=["shape", "dtype"],
)
def test_codes_of_another_kind_are_an_error(tmp_path, change, message):
    pixart().save_pretrained(tmp_path / "float")
    quantized_from(tmp_path / "float", "int8").save_pretrained(tmp_path / "q")
    path = tmp_path / "q" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    key = next(key for key in tensors if key.endswith("._data"))
    tensors[key] = change(tensors[key])
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ValueError, match=message):
        PixArt.from_pretrained(tmp_path / "q")


def test_a_newer_format_is_one_clear_error(tmp_path):
    pixart().save_pretrained(tmp_path / "float")
    quantized_from(tmp_path / "float", "int8").save_pretrained(tmp_path / "q")
    file = tmp_path / "q" / "config.json"
    file.write_text(file.read_text().replace('"format_version": 1', '"format_version": 9'))
    with pytest.raises(ValueError, match="expected format_version 1 at most, got 9"):
        PixArt.from_pretrained(tmp_path / "q")


def test_a_pipeline_component_on_one_device(tmp_path):
    pixart().save_pretrained(tmp_path / "float")
    quantized_from(tmp_path / "float", "int8").save_pretrained(tmp_path / "q")
    expected = denoise(PixArt.from_pretrained(tmp_path / "q"))
    model = PixArt.from_pretrained(tmp_path / "q", device_map="cpu")
    assert torch.equal(denoise(model), expected)
    with pytest.raises(ValueError, match="expected one device in device_map"):
        PixArt.from_pretrained(tmp_path / "q", device_map={"": "cpu", "proj_out": "disk"})
