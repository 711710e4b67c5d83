# SPDX-License-Identifier: Apache-2.0
"""Folders whose head and embedding share one weight: `quanto quantize` keeps it once, as Python."""

import json
from pathlib import Path

import pytest
import torch
from cli import (
    SCHEMES,
    assert_same_tensors,
    needs_binary,
    run,
    save_model,
    tensors_in,
)
from safetensors import safe_open

import quanto
from quanto.mapping import quantization_map

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytestmark = needs_binary

IDS = torch.arange(8)[None]
NAMES = ("lm_head", "model.embed_tokens")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tied") / "float"
    save_model(path, tied=True)
    return path


def options_of(scheme: str, *include: str) -> list[str]:
    weights, _, optimizer = SCHEMES[scheme]
    options = ["--weights", weights, "--include", "*_proj"]
    for pattern in include:
        options += ["--include", pattern]
    return options + ([] if optimizer is None else ["--optimizer", optimizer])


def quantized_in_python(folder: Path, scheme: str, named: str) -> torch.nn.Module:
    weights, _, optimizer = SCHEMES[scheme]
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype="auto")
    chosen = None if optimizer is None else quanto.HqqOptimizer()
    quanto.quantize(model, weights, None, chosen, include=["*_proj", named])
    quanto.freeze(model)
    return model.eval()


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model(IDS).logits


@pytest.mark.parametrize("scheme", ["int8", "float8", "int4", "int4-hqq", "int2"])
@pytest.mark.parametrize("named", NAMES)
def test_naming_one_quantizes_both(scheme: str, named: str, folder: Path, tmp_path: Path) -> None:
    out, saved = tmp_path / "out", tmp_path / "saved"
    run("quantize", folder, out, *options_of(scheme, named))
    expected = quantized_in_python(folder, scheme, named)
    quanto.save_pretrained(expected, saved)
    assert_same_tensors(tensors_in(out), tensors_in(saved))
    config = json.loads((out / "config.json").read_text())
    assert config["tie_word_embeddings"]
    assert config["quantization_config"]["modules"] == quantization_map(expected)
    told = []
    for path in (out, saved):
        with safe_open(path / "model.safetensors", framework="pt") as file:
            told.append(file.metadata()["quanto_weights"])
    assert told[0] == told[1]
    for loaded in (quanto.load(out), transformers.LlamaForCausalLM.from_pretrained(out)):
        assert type(loaded.lm_head) is quanto.QLinear
        assert type(loaded.model.embed_tokens) is quanto.QEmbedding
        assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
        assert torch.equal(logits(loaded), logits(expected))


def test_the_other_commands_read_it(folder: Path, tmp_path: Path) -> None:
    out, saved, back = tmp_path / "out", tmp_path / "saved", tmp_path / "back"
    run("quantize", folder, out, *options_of("int4", "lm_head"))
    model = quantized_in_python(folder, "int4", "lm_head")
    quanto.save_pretrained(model, saved)
    for path in (out, saved):
        run("verify", path)
    shown = json.loads(run("inspect", out, "--json").stdout)["tensors"]
    assert (
        run("compare", out, saved).stdout == f"{len(shown)} tensors, {len(shown)} of them equal\n"
    )
    run("dequantize", saved, back)
    assert tensors_in(back).keys() == tensors_in(folder).keys()
    dense = transformers.LlamaForCausalLM.from_pretrained(back, dtype="auto")
    assert dense.lm_head.weight is dense.model.embed_tokens.weight
    assert torch.equal(dense.lm_head.weight, model.lm_head.weight.dequantize())


def test_a_head_that_is_not_the_embeddings_must_be_there(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("quantize", folder, out, *options_of("int4", "lm_head"))
    path = out / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"tie_word_embeddings": False}))
    failed = run("verify", out, code=1)
    assert "expected a quantized weight of 'lm_head'" in failed.stderr


@pytest.mark.parametrize("excluded", NAMES)
def test_both_or_neither(excluded: str, folder: Path, tmp_path: Path) -> None:
    named = NAMES[1 - NAMES.index(excluded)]
    options = [*options_of("int8", named), "--exclude", excluded]
    failed = run("quantize", folder, tmp_path / "out", *options, code=1)
    assert "'model.embed_tokens' and 'lm_head', which share a weight" in failed.stderr
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype="auto")
    with pytest.raises(ValueError, match="as they share a weight"):
        quanto.quantize(model, "int8", include=["*_proj", named], exclude=excluded)


def test_a_rule_that_names_the_head(folder: Path, tmp_path: Path) -> None:
    policy, out = tmp_path / "policy.json", tmp_path / "out"
    policy.write_text(json.dumps([{"match": "lm_head", "weights": "int8"}]))
    run("quantize", folder, out, "--weights", "int4", "--policy", policy)
    loaded = quanto.load(out)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert loaded.lm_head.weight.qtype is quanto.qint8
