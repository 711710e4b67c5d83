# SPDX-License-Identifier: Apache-2.0
"""The wrappers of transformers' and diffusers' models: what they write, reload and refuse."""

import copy
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from checkpoints import FLOAT, ROOT, dense_twin, logits_of
from safetensors.torch import load_file
from tolerances import CODE_STEPS, MODEL_ERROR
from torch import nn

import quanto
from quanto import (
    QuantizedDiffusersModel,
    QuantizedModelForCausalLM,
    QuantizedPixArtTransformer2DModel,
    QuantizedTransformersModel,
)

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

IDS = torch.arange(8)[None]
SCHEMES = ["qint8", "qfloat8", "qint4", "qint2"]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def float_model(**changes):
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(FLOAT, **changes)
    return transformers.LlamaForCausalLM(config).eval()


def quantized(scheme="qint8", **options):
    return QuantizedModelForCausalLM.quantize(float_model(), weights=scheme, **options)


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


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


def pixart():
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    torch.manual_seed(0)
    return diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        cross_attention_dim=16,
        sample_size=8,
        caption_channels=16,
        use_additional_conditions=False,
    ).eval()


def denoised(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return model(
            torch.randn(1, 4, 8, 8, generator=generator),
            encoder_hidden_states=torch.randn(1, 5, 16, generator=generator),
            timestep=torch.tensor([3]),
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        ).sample


@every_scheme
@pytest.mark.parametrize("size", [None, "4KB"])
def test_diffusers_models(scheme, size, tmp_path):
    model = QuantizedPixArtTransformer2DModel.quantize(pixart(), weights=scheme)
    model.save_pretrained(tmp_path, max_shard_size=size)
    name = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / (name if size is None else f"{name}.index.json")).is_file()
    again = QuantizedPixArtTransformer2DModel.from_pretrained(tmp_path)
    assert not again.training
    assert torch.equal(denoised(again), denoised(model))


def test_diffusers_refusals(tmp_path):
    model = pixart()
    with pytest.raises(ValueError, match="must be a quantized diffusers model"):
        QuantizedPixArtTransformer2DModel(model)
    with pytest.raises(ValueError, match="must be a diffusers model"):
        QuantizedPixArtTransformer2DModel.quantize(nn.Sequential(nn.Linear(4, 4)), weights="qint8")
    wrapper = QuantizedPixArtTransformer2DModel.quantize(model, weights="qint8")
    wrapper.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="`base_class` attribute needs to be configured"):
        QuantizedDiffusersModel.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "_class_name": "Other"}))
    with pytest.raises(ValueError, match=r"Configured base class \(PixArt.*\(Other\)"):
        QuantizedPixArtTransformer2DModel.from_pretrained(tmp_path)


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


def test_neither_library_is_imported_by_ours():
    code = (
        "import sys, quanto\n"
        "from quanto import QuantizedModelForCausalLM, QuantizedPixArtTransformer2DModel\n"
        "print(sorted({'transformers', 'diffusers', 'accelerate'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["transformers", "huggingface_hub"])
def test_wrappers_say_what_they_need(name):
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "import quanto\n"
        "try: quanto.QuantizedModelForCausalLM.from_pretrained('x')\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "expected transformers to be installed" in run.stdout
