# SPDX-License-Identifier: Apache-2.0
"""quanto.save_pretrained and quanto.load: any class, exactly the model that was saved."""

import json
import subprocess
import sys

import pytest
import torch
from checkpoints import ROOT as CHECKPOINTS
from hf_models import IDS, anonymous_mib, denoise, every_weight, llama, logits, pixart, saved_llama
from tolerances import FIRST_LOAD_MIB, MAPPED_SHARE
from torch import nn

import quanto
from quanto import QTensor

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


def frozen(model, **options):
    quanto.quantize(model, **options)
    quanto.freeze(model)
    return model


def outputs(model, **inputs):
    with torch.no_grad():
        return model(**inputs)[0]


@every_weight
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_language_model(tmp_path, weights, dtype):
    path = saved_llama(tmp_path / "float")
    model = frozen(
        transformers.LlamaForCausalLM.from_pretrained(path, dtype=dtype), weights=weights
    )
    quanto.save_pretrained(model, tmp_path)
    assert not hasattr(model, "hf_quantizer")
    assert not hasattr(model.config, "quantization_config")
    loaded = quanto.load(tmp_path)
    assert type(loaded) is type(model)
    assert quanto.quantization_map(loaded) == quanto.quantization_map(model)
    assert torch.equal(logits(loaded), logits(model))


def calibrated(model, streamline=True, **options):
    quanto.quantize(model, weights="int8", activations="int8", **options)
    with torch.no_grad(), quanto.Calibration(streamline=streamline):
        model(IDS)
    quanto.freeze(model)
    return model


@pytest.mark.parametrize("streamline", [True, False], ids=["streamlined", "every output"])
def test_calibrated_activations_and_which_outputs_stay_float(tmp_path, streamline):
    model = calibrated(llama(), streamline)
    quanto.save_pretrained(model, tmp_path)
    loaded = quanto.load(tmp_path)
    assert quanto.quantization_map(loaded) == quanto.quantization_map(model)
    ours, theirs = logits(loaded), logits(model)
    assert isinstance(ours, QTensor) == isinstance(theirs, QTensor) == (not streamline)
    dense = [t.dequantize() if isinstance(t, QTensor) else t for t in (ours, theirs)]
    assert torch.equal(*dense)


def test_modules_of_several_kinds(tmp_path):
    model = llama()
    frozen(model, weights="int4", include="*.mlp.*")
    frozen(model, weights="float8", include="*.q_proj")
    frozen(model, weights="int8", activations="int8", dynamic=True, include="*.o_proj")
    quanto.save_pretrained(model, tmp_path)
    loaded = quanto.load(tmp_path)
    assert quanto.quantization_map(loaded) == quanto.quantization_map(model)
    assert torch.equal(logits(loaded), logits(model))


def test_a_float_tied_head(tmp_path):
    model = llama(tie_word_embeddings=True)
    with pytest.warns(UserWarning, match="left float"):
        frozen(model, weights="int8")
    quanto.save_pretrained(model, tmp_path)
    loaded = quanto.load(tmp_path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert torch.equal(logits(loaded), logits(model))


def test_a_head_and_an_embedding_that_share_a_quantized_weight(tmp_path):
    model = llama(tie_word_embeddings=True)
    frozen(model, weights="int8", include=["lm_head", "model.embed_tokens", "*.mlp.*"])
    assert model.lm_head.weight is model.model.embed_tokens.weight
    quanto.save_pretrained(model, tmp_path)
    loaded = quanto.load(tmp_path)
    assert isinstance(loaded.lm_head.weight, QTensor)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert torch.equal(logits(loaded), logits(model))


def test_a_head_that_was_untied(tmp_path):
    model = llama(tie_word_embeddings=True)
    model.lm_head.weight = nn.Parameter(torch.randn_like(model.lm_head.weight))
    frozen(model, weights="int8")
    quanto.save_pretrained(model, tmp_path)
    assert model.config.tie_word_embeddings
    assert torch.equal(logits(quanto.load(tmp_path)), logits(model))


def whisper():
    config = transformers.WhisperConfig(
        vocab_size=64, d_model=32, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
        decoder_ffn_dim=64, num_mel_bins=16, max_source_positions=20, max_target_positions=16,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    inputs = {"input_features": torch.randn(1, 16, 40), "decoder_input_ids": IDS[:, :6]}
    return model, inputs


def vit():
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        image_size=16, patch_size=4, num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config).eval()
    return model, {"pixel_values": torch.randn(1, 3, 16, 16)}


def bert():
    config = transformers.BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.BertModel(config).eval(), {"input_ids": IDS}


@pytest.mark.parametrize("build", [whisper, vit, bert])
@pytest.mark.filterwarnings("ignore:quantize. left float:UserWarning")
def test_other_classes(tmp_path, build):
    model, inputs = build()
    expected_float = outputs(model, **inputs)
    frozen(model, weights="int8", activations="int8", dynamic=True)
    quanto.save_pretrained(model, tmp_path)
    loaded = quanto.load(tmp_path)
    assert type(loaded) is type(model)
    assert quanto.quantization_map(loaded) == quanto.quantization_map(model)
    assert torch.equal(outputs(loaded, **inputs), outputs(model, **inputs))
    assert not torch.equal(outputs(loaded, **inputs), expected_float)


@every_weight
def test_a_model_of_diffusers(tmp_path, weights):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    model = pixart()
    config = dict(model.config)
    frozen(model, weights=weights)
    assert isinstance(model.pos_embed.proj, quanto.QConv2d)
    quanto.save_pretrained(model, tmp_path)
    assert dict(model.config) == config
    loaded = quanto.load(tmp_path)
    assert type(loaded) is type(model)
    assert torch.equal(denoise(loaded), denoise(model))


@pytest.mark.parametrize("bare", [False, True], ids=["quanto", "bare"])
def test_saving_over_the_file_that_is_mapped(tmp_path, bare):
    expected = logits(model := frozen(llama(), weights="int4"))
    quanto.save_pretrained(model, tmp_path)
    loaded = quanto.load(tmp_path)
    if bare:
        loaded.save_pretrained(tmp_path)
    else:
        quanto.save_pretrained(loaded, tmp_path)
    assert torch.equal(logits(loaded), expected)
    assert torch.equal(logits(quanto.load(tmp_path)), expected)


@pytest.mark.parametrize("shards", ["5GB", "20kB"], ids=["one file", "shards"])
def test_arguments_go_to_the_library(tmp_path, shards):
    model = frozen(llama(), weights="int8")
    quanto.save_pretrained(model, tmp_path, max_shard_size=shards)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shards == "20kB")
    loaded = quanto.load(tmp_path, dtype=torch.bfloat16)
    assert loaded.dtype is torch.bfloat16


@pytest.mark.parametrize(
    "name",
    sorted(path.name for path in CHECKPOINTS.iterdir() if (path / "quanto_qmap.json").exists()),
)
def test_directories_of_the_predecessor(name):
    path = CHECKPOINTS / name
    model = quanto.load(path)
    ours = quanto.quantization_map(model)
    theirs = json.loads((path / "quanto_qmap.json").read_text())
    assert {key: (e["weights"], e["activations"]) for key, e in ours.items()} == {
        key: (e["weights"], e["activations"]) for key, e in theirs.items()
    }
    assert not model.training


def test_loading_adds_no_copy(tmp_path):
    """Anonymous memory grows by a small share of the file's bytes: its tensors stay mapped."""
    program = f"""
import sys; sys.path[:0] = {sys.path!r}
import quanto
from hf_models import anonymous_mib
quanto.load({str(tmp_path / "small")!r})  # brings the library in
before = anonymous_mib()
model = quanto.load({str(tmp_path / "large")!r})
print(anonymous_mib() - before)
"""
    sizes = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6}
    for name, options in (("small", {}), ("large", sizes)):
        quanto.save_pretrained(frozen(llama(**options), weights="int8"), tmp_path / name)
    file = (tmp_path / "large" / "model.safetensors").stat().st_size / 2**20
    assert file > 20
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert float(done.stdout.split()[-1]) < file * MAPPED_SHARE


def test_quantizing_on_the_fly_holds_the_codes_only(tmp_path):
    """What the process holds while a float checkpoint is quantized: codes, scales, one weight."""
    sizes = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6}
    model = llama(**sizes)
    model.save_pretrained(tmp_path)
    weights = [m.weight for m in model.model.modules() if isinstance(m, nn.Linear)]
    codes = sum(w.numel() for w in weights) / 2**20
    largest = max(w.numel() for w in weights) * 4 / 2**20
    program = f"""
import sys; sys.path[:0] = {sys.path!r}
import threading, transformers, quanto
from hf_models import anonymous_mib
from transformers import LlamaForCausalLM
peak, done = 0.0, threading.Event()
def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, anonymous_mib())
before = anonymous_mib()
thread = threading.Thread(target=watch); thread.start()
model = LlamaForCausalLM.from_pretrained(
    {str(tmp_path)!r}, quantization_config=transformers.QuantoConfig("int8")
)
done.set(); thread.join()
print(max(peak, anonymous_mib()) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert anonymous_mib() > 0
    assert float(done.stdout.split()[-1]) < codes + largest + FIRST_LOAD_MIB


def write(path, **config):
    (path / "config.json").write_text(json.dumps(config))


def test_errors_of_saving(tmp_path):
    with pytest.raises(TypeError, match="expected a model of transformers or diffusers"):
        quanto.save_pretrained(nn.Linear(2, 2), tmp_path)
    with pytest.raises(ValueError, match="expected a model with quantized modules, got none"):
        quanto.save_pretrained(llama(), tmp_path)
    model = llama()
    quanto.quantize(model, weights="int8")
    with pytest.raises(ValueError, match=r"quanto\.freeze"):
        quanto.save_pretrained(model, tmp_path)
    quanto.freeze(model)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="expected a directory, got a file"):
        quanto.save_pretrained(model, tmp_path / "file")


def test_errors_of_loading(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a directory"):
        quanto.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="expected the model's config"):
        quanto.load(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ValueError, match="expected JSON"):
        quanto.load(tmp_path)
    write(tmp_path, architectures=["Nobody"])
    with pytest.raises(ValueError, match=r"expected config\.json to name a class of transformers"):
        quanto.load(tmp_path)
    write(tmp_path, architectures=["LlamaForCausalLM"])
    with pytest.raises(ValueError, match="expected a quantized model"):
        quanto.load(tmp_path)
    write(tmp_path, architectures=["LlamaForCausalLM"], quantization_config={"quant_method": "awq"})
    with pytest.raises(ValueError, match="expected a model quantized by quanto, got 'awq'"):
        quanto.load(tmp_path)


def test_a_class_may_be_given(tmp_path):
    model = frozen(llama(), weights="int8")
    quanto.save_pretrained(model, tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text()) | {"architectures": None}
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="pass model_class"):
        quanto.load(tmp_path)
    loaded = quanto.load(tmp_path, model_class=transformers.AutoModelForCausalLM)
    assert torch.equal(logits(loaded), logits(model))
