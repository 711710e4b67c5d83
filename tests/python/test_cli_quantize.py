# SPDX-License-Identifier: Apache-2.0
"""`quanto quantize` writes what Python makes of the same model, bit for bit."""

import json
from pathlib import Path

import pytest
import torch
from cli import (
    assert_same_tensors,
    every_scheme,
    needs_binary,
    options_of,
    quantized_in_python,
    run,
    save_model,
    tensors_in,
)
from safetensors.torch import load_file, safe_open

import quanto
from quanto.mapping import quantization_map

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytestmark = needs_binary


@every_scheme
def test_writes_what_python_makes(scheme: str, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("quantize", model_folder, out, *options_of(scheme), "--threads", 2)
    expected = quantized_in_python(model_folder, scheme)
    assert_same_tensors(tensors_in(out), expected.state_dict())
    config = json.loads((out / "config.json").read_text())
    settings = config.pop("quantization_config")
    assert config == json.loads((model_folder / "config.json").read_text())
    assert settings["modules"] == quantization_map(expected)
    assert settings["modules_to_not_convert"][0] == "lm_head"
    with safe_open(out / "model.safetensors", framework="pt") as file:
        assert file.metadata()["format"] == "pt"
        assert file.metadata()["quanto_format_version"] == "1"


@every_scheme
def test_what_it_writes_loads(scheme: str, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("quantize", model_folder, out, *options_of(scheme))
    ids = torch.arange(8)[None]
    expected = quantized_in_python(model_folder, scheme).eval()
    with torch.no_grad():
        logits = expected(ids).logits
        loaded = quanto.load(out)
        assert torch.equal(loaded(ids).logits, logits)
        bare = transformers.LlamaForCausalLM.from_pretrained(model_folder, dtype="auto")
        quanto.requantize(bare, tensors_in(out), quantization_map(expected))
        assert torch.equal(bare.eval()(ids).logits, logits)


def test_carries_over_what_is_not_weights(model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("quantize", model_folder, out, "--weights", "int8")
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert (out / "tokenizer.json").read_text() == '{"version": "1.0"}'


def test_keeps_shards(sharded_folder: Path, model_folder: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", tmp_path / "one"
    run("quantize", sharded_folder, out, "--weights", "int4")
    run("quantize", model_folder, one, "--weights", "int4")
    assert_same_tensors(tensors_in(out), tensors_in(one))
    index = json.loads((out / "model.safetensors.index.json").read_text())
    for name, file in index["weight_map"].items():
        assert name in load_file(out / file)
    stored = sum(tensor.nbytes for tensor in tensors_in(out).values())
    assert index["metadata"]["total_size"] == stored
    quanto.load(out)


def test_shards_in_parts_make_the_same(sharded_folder: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    run("quantize", sharded_folder, whole, "--weights", "int8")
    for part in ("2/2", "1/2"):
        run("quantize", sharded_folder, out, "--weights", "int8", "--shard", part)
        assert not out.exists()
    shards = list((tmp_path / "out.partial").glob("*.safetensors"))
    times = {shard.name: shard.stat().st_mtime_ns for shard in shards}
    run("quantize", sharded_folder, out, "--weights", "int8", "--resume")
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert all((out / name).stat().st_mtime_ns == time for name, time in times.items())


def test_resume_wants_the_same_run(sharded_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("quantize", sharded_folder, out, "--weights", "int8", "--shard", "1/2")
    again = run("quantize", sharded_folder, out, "--weights", "int8", code=1)
    assert "continue it with --resume" in again.stderr
    other = run("quantize", sharded_folder, out, "--weights", "int4", "--resume", code=1)
    assert "of the same checkpoint and options" in other.stderr


def test_resume_replaces_a_broken_shard(sharded_folder: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    run("quantize", sharded_folder, whole, "--weights", "int8")
    run("quantize", sharded_folder, out, "--weights", "int8", "--shard", "1/1")
    shard = min((tmp_path / "out.partial").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    run("quantize", sharded_folder, out, "--weights", "int8", "--resume")
    assert_same_tensors(tensors_in(out), tensors_in(whole))


def test_tied_heads_stay_float(tmp_path: Path) -> None:
    save_model(tmp_path / "in", tied=True)
    run("quantize", tmp_path / "in", tmp_path / "out", "--weights", "int8")
    state = tensors_in(tmp_path / "out")
    assert state["model.embed_tokens.weight"].dtype == torch.bfloat16
    quanto.load(tmp_path / "out")


def test_one_file_suffices(model_folder: Path, tmp_path: Path) -> None:
    source, out = model_folder / "model.safetensors", tmp_path / "out.safetensors"
    run("quantize", source, out, "--weights", "int4", "--group-size", 32, "--exclude", "*.mlp.*")
    shown = json.loads(run("inspect", out, "--json").stdout)
    weights = {tensor["name"]: tensor for tensor in shown["tensors"]}
    query = weights["model.layers.0.self_attn.q_proj.weight"]
    assert query["type"] == "qint4"
    assert query["shape"] == [160, 160]
    assert query["group_size"] == 32
    assert query["bits_per_weight"] == 4 + 2 * 16 / 32
    assert weights["model.layers.0.mlp.up_proj.weight"]["type"] == "BF16"
    assert "160 x 160" in run("inspect", out).stdout
    run("verify", out)


def test_policy(model_folder: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    rules = [
        {"match": r"\.down_proj$", "weights": "int8"},
        {"match": r"layers\.0\.", "group_size": 32, "optimizer": "hqq"},
        {"match": r"layers\.1\.self_attn", "skip": True},
        {"match": r"lm_head", "weights": "int8"},
    ]
    policy.write_text(json.dumps(rules))
    out = tmp_path / "out"
    options = ("--weights", "int4", "--policy", policy, "--exclude", "*0.mlp.*")
    planned = run("quantize", model_folder, out, *options, "--dry-run").stdout
    assert not out.exists()
    assert "int8     lm_head" in planned
    run("quantize", model_folder, out, *options)
    modules = json.loads((out / "config.json").read_text())["quantization_config"]["modules"]
    assert modules["model.layers.1.mlp.down_proj"]["weights"] == "qint8"
    assert modules["model.layers.0.self_attn.q_proj"]["group_size"] == 32
    assert modules["lm_head"]["weights"] == "qint8"
    assert "model.layers.1.self_attn.q_proj" not in modules
    assert type(quanto.load(out).lm_head) is quanto.QLinear
