# SPDX-License-Identifier: Apache-2.0
"""The `quanto` binary: what it writes is what Python makes of the same model, bit for bit."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

import quanto
from quanto.integrations.metadata import file_metadata
from quanto.mapping import quantization_map

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

ROOT = Path(__file__).parents[2]


def _binary() -> Path | None:
    """That of QUANTO_CLI, of the environment that runs the tests, or of the build."""
    named = os.environ.get("QUANTO_CLI")
    if named is not None:
        return Path(named)
    places = (Path(sys.executable).parent / "quanto", ROOT / "build/wheel/cpp/quanto/cli/quanto")
    return next((place for place in places if place.is_file()), None)


BINARY = _binary()
pytestmark = pytest.mark.skipif(
    BINARY is None, reason="no quanto binary: set QUANTO_CLI or run make build"
)

SCHEMES = {
    "int8": ("int8", None, None),
    "float8": ("float8", None, None),
    "float8_e5m2": ("float8_e5m2", None, None),
    "int4": ("int4", None, None),
    "int4-groups": ("int4", 32, None),
    "int4-hqq": ("int4", None, "hqq"),
    "int2": ("int2", None, None),
}
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(BINARY), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, (done.args, done.stdout, done.stderr)
    if code != 0:
        assert done.stderr.startswith("quanto: ")
        assert done.stderr.count("\n") == 1, done.stderr
    return done


def save_model(folder: Path, tied: bool = False, **options: Any) -> None:
    """A tiny Llama whose sizes split into groups of 32 only, or into none."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=96,
        hidden_size=160,
        intermediate_size=99,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        attention_bias=True,
    )
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, **options)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "pytorch_model.bin").write_text("weights of another format")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "float"
    save_model(folder)
    return folder


@pytest.fixture(scope="module")
def sharded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "sharded"
    save_model(folder, max_shard_size="150KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    return folder


def options_of(scheme: str) -> list[str]:
    weights, group_size, optimizer = SCHEMES[scheme]
    options = ["--weights", weights]
    if group_size is not None:
        options += ["--group-size", str(group_size), "--exclude", "*.down_proj"]
    if optimizer is not None:
        options += ["--optimizer", optimizer]
    return options


def quantized_in_python(folder: Path, scheme: str) -> torch.nn.Module:
    weights, group_size, optimizer = SCHEMES[scheme]
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype="auto")
    exclude = ["lm_head"] + (["*.down_proj"] if group_size is not None else [])
    chosen = None if optimizer is None else quanto.HqqOptimizer()
    quanto.quantize(model, weights, None, chosen, exclude=exclude, group_size=group_size)
    quanto.freeze(model)
    return model


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def assert_same_tensors(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype, name
        assert state[name].shape == tensor.shape, name
        assert torch.equal(as_bytes(state[name]), as_bytes(tensor)), name


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        state |= load_file(file)
    return state


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


@every_scheme
def test_dequantizes_as_python_does(scheme: str, model_folder: Path, tmp_path: Path) -> None:
    quantized, back = tmp_path / "quantized", tmp_path / "back"
    run("quantize", model_folder, quantized, *options_of(scheme))
    run("verify", quantized)
    run("dequantize", quantized, back)
    expected = {
        name.removesuffix("._data").removesuffix("._data"): tensor
        for name, tensor in tensors_in(model_folder).items()
    }
    for name, module in quantized_in_python(model_folder, scheme).named_modules():
        if isinstance(module, quanto.QLinear):
            expected[f"{name}.weight"] = module.weight.dequantize()
    assert_same_tensors(tensors_in(back), expected)
    original = json.loads((model_folder / "config.json").read_text())
    assert json.loads((back / "config.json").read_text()) == original
    transformers.LlamaForCausalLM.from_pretrained(back)


def test_compares(model_folder: Path, tmp_path: Path) -> None:
    for weights in ("int8", "int4"):
        run("quantize", model_folder, tmp_path / weights, "--weights", weights)
    assert "of them equal" in run("compare", model_folder, model_folder).stdout
    worst = json.loads(run("compare", model_folder, tmp_path / "int4", "--json").stdout)
    better = json.loads(run("compare", model_folder, tmp_path / "int8", "--json").stdout)
    by_name = {entry["name"]: entry["sqnr_db"] for entry in better}
    assert all(
        entry["sqnr_db"] is None or entry["sqnr_db"] < by_name[entry["name"]] for entry in worst
    )
    name = worst[0]["name"]
    a = tensors_in(model_folder)[name].double()
    modules = dict(quantized_in_python(model_folder, "int4").named_modules())
    b = modules[name.removesuffix(".weight")].weight.dequantize().double()
    sqnr = 10 * torch.log10(a.square().sum() / (a - b).square().sum())
    assert worst[0]["sqnr_db"] == pytest.approx(sqnr.item(), rel=1e-9)
    assert worst[0]["max_error"] == (a - b).abs().max().item()
    assert "dB" in run("compare", model_folder, tmp_path / "int4").stdout


def test_reads_what_python_saves(model_folder: Path, tmp_path: Path) -> None:
    model = quantized_in_python(model_folder, "int4")
    quanto.save_pretrained(model, tmp_path / "python")
    run("verify", tmp_path / "python")
    run("quantize", model_folder, tmp_path / "cli", "--weights", "int4")
    equal = run("compare", tmp_path / "python", tmp_path / "cli").stdout
    count = len(json.loads(run("inspect", tmp_path / "cli", "--json").stdout)["tensors"])
    assert equal == f"{count} tensors, {count} of them equal\n"


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


def weights_metadata(folder: Path) -> list[str]:
    found = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            found.append(opened.metadata()["quanto_weights"])
    return found


@every_scheme
def test_dequantizes_what_python_saves(scheme: str, model_folder: Path, tmp_path: Path) -> None:
    saved, back, cli = tmp_path / "saved", tmp_path / "back", tmp_path / "cli"
    model = quantized_in_python(model_folder, scheme)
    quanto.save_pretrained(model, saved)
    run("quantize", model_folder, cli, *options_of(scheme))
    assert weights_metadata(saved) == weights_metadata(cli)
    run("dequantize", saved, back)
    state = tensors_in(back)
    for name, module in model.named_modules():
        if isinstance(module, quanto.QLinear):
            expected = module.weight.dequantize()
            assert state[f"{name}.weight"].shape == expected.shape
            assert torch.equal(as_bytes(state[f"{name}.weight"]), as_bytes(expected)), name
    assert state.keys() == tensors_in(model_folder).keys()


def test_dequantizes_the_shards_that_python_saves(model_folder: Path, tmp_path: Path) -> None:
    model = quantized_in_python(model_folder, "int4-groups")
    quanto.save_pretrained(model, tmp_path / "saved", max_shard_size="60KB")
    assert len(weights_metadata(tmp_path / "saved")) > 1
    run("dequantize", tmp_path / "saved", tmp_path / "back")
    weight = model.model.layers[1].mlp.up_proj.weight.dequantize()
    back = tensors_in(tmp_path / "back")["model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(as_bytes(back), as_bytes(weight))


@pytest.mark.parametrize("group_size", [None, 36])
def test_dequantizes_convolutions(group_size: int | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"conv": torch.nn.Conv2d(8, 5, 3)})
    quanto.quantize(model, "int4", group_size=group_size)
    model.conv.weight_group_size = group_size
    quanto.freeze(model)
    path, back = tmp_path / "conv.safetensors", tmp_path / "back.safetensors"
    quanto.safe_save(model.state_dict(), path, file_metadata(model))
    run("verify", path)
    run("dequantize", path, back)
    expected = model.conv.weight.dequantize()
    assert model.conv.weight.group_size == group_size
    assert_same_tensors(
        load_file(back), {"conv.weight": expected, "conv.bias": model.conv.bias.detach()}
    )


def tied_state(weights: str | None) -> dict[str, torch.Tensor]:
    """Two modules with one weight, and one of its own."""
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({name: torch.nn.Linear(64, 64) for name in "abc"})
    if weights is not None:
        quanto.quantize(model, weights, group_size=32 if weights == "int4" else None)
        quanto.freeze(model)
    state = model.state_dict()
    shared = {f"b{name[1:]}": state[name] for name in state if name.startswith("a.")}
    return state | shared


@pytest.mark.parametrize("weights", [None, "int8", "int4"])
def test_knows_tied_weights(weights: str | None, tmp_path: Path) -> None:
    path, back = tmp_path / "tied.safetensors", tmp_path / "back.safetensors"
    quanto.safe_save(tied_state(weights), path)
    run("verify", path)
    tensors = {t["name"]: t for t in json.loads(run("inspect", path, "--json").stdout)["tensors"]}
    assert tensors["b.weight"]["tied_to"] == "a.weight"
    assert tensors["b.weight"]["bytes"] == 0
    assert "tied_to" not in tensors["c.weight"]
    assert "is a.weight" in run("inspect", path).stdout
    compared = json.loads(run("compare", path, path, "--json").stdout)
    assert all(entry["sqnr_db"] is None for entry in compared)
    assert {"a.weight", "b.weight", "c.weight"} <= {entry["name"] for entry in compared}
    if weights == "int8":
        run("dequantize", path, back)
        values = quanto.safe_load(back)
        assert values["b.weight"].data_ptr() == values["a.weight"].data_ptr()
        assert values.keys() == {f"{x}.{y}" for x in "abc" for y in ("weight", "bias")}
    if weights is None:
        run("quantize", path, back, "-w", "int8")
        state = quanto.safe_load(back)
        assert torch.equal(state["b.weight"], state["a.weight"])
        assert "c.weight._data" in state
        refused = run("quantize", path, tmp_path / "x", "-w", "int8", "--include", "a", code=1)
        assert "got one that is also 'b.weight'" in refused.stderr


MISUSES = {
    "no command": ([], 2, "A subcommand is required"),
    "unknown option": (["quantize", "IN", "OUT", "--bits", "4"], 2, "--bits"),
    "no type": (["quantize", "IN", "OUT"], 2, "expected --weights or --policy"),
    "unknown type": (["quantize", "IN", "OUT", "-w", "int3"], 2, "got int3"),
    "bad shard": (["quantize", "IN", "OUT", "-w", "int8", "--shard", "3/2"], 2, "got 3/2"),
    "groups of 8 bits": (["quantize", "IN", "OUT", "-w", "int8", "-g", "32"], 2, "for int8"),
    "bad groups": (["quantize", "IN", "OUT", "-w", "int4", "-g", "48"], 1, "got 48"),
    "no input": (["quantize", "NONE", "OUT", "-w", "int8"], 1, "expected a readable file"),
    "same path": (["quantize", "IN", "IN/", "-w", "int8"], 1, "expected another path"),
    "folder with files": (["quantize", "IN", "FULL", "-w", "int8"], 1, "an empty one"),
    "no parent": (["quantize", "IN", "NONE/out", "-w", "int8"], 1, "an existing folder"),
    "no match": (["quantize", "IN", "OUT", "-w", "int8", "--include", "x"], 1, "got none for x"),
    "float input": (["dequantize", "IN", "OUT"], 1, "expected quantized weights"),
    "no tensors": (["inspect", "FULL"], 1, "expected model.safetensors"),
    "corrupt": (["verify", "FULL/corrupt.safetensors"], 1, "is the file whole?"),
    "other model": (["compare", "IN", "FULL/other.safetensors"], 1, "which the other checkpoint"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_is_one_line(misuse: str, model_folder: Path, tmp_path: Path) -> None:
    arguments, code, message = MISUSES[misuse]
    full = tmp_path / "full"
    full.mkdir()
    save_file({"w": torch.zeros(4)}, full / "other.safetensors")
    whole = (full / "other.safetensors").read_bytes()
    (full / "corrupt.safetensors").write_bytes(whole[:-4])
    places = {"IN": model_folder, "OUT": tmp_path / "out", "FULL": full, "NONE": tmp_path / "none"}
    filled = [
        f"{places[head]}{slash}{rest}" if head in places else argument
        for argument in arguments
        for head, slash, rest in [argument.partition("/")]
    ]
    assert message in run(*filled, code=code).stderr
    assert not (tmp_path / "out").exists()


def test_quantized_input_is_refused(model_folder: Path, tmp_path: Path) -> None:
    run("quantize", model_folder, tmp_path / "a", "-w", "int8")
    again = run("quantize", tmp_path / "a", tmp_path / "b", "-w", "int4", code=1)
    assert "expected a float model" in again.stderr


def test_infinity_is_named(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(model_folder, folder)
    state = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    state[name][3, 4] = float("inf")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    done = run("quantize", folder, tmp_path / "out", "-w", "int4", code=1)
    assert name in done.stderr
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out.partial/*.safetensors"))


def large_file(path: Path) -> None:
    """Enough work to be killed in the middle of it."""
    torch.manual_seed(0)
    save_file({f"m{i}.weight": torch.randn(512, 1024) for i in range(8)}, path)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("large") / "large.safetensors"
    large_file(path)
    yield path
    path.unlink()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_leaves_the_old_file(how: signal.Signals, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    command = [str(BINARY), "quantize", str(large), str(out), "-w", "int4", "--optimizer", "hqq"]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole, new = time.monotonic() - start, out.read_bytes()
    rng, killed = random.Random(0), 0
    for attempt in range(6):
        old = b"old" if attempt % 2 else new
        out.write_bytes(old)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, whole))
        process.send_signal(how)
        killed += process.wait() == -how
        assert out.read_bytes() in (old, new)
        if how is not signal.SIGKILL:
            assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert killed > 0
    subprocess.run(command, check=True, capture_output=True)
    assert out.read_bytes() == new
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_killed_run_can_be_resumed(sharded_folder: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = ["quantize", sharded_folder, out, "-w", "int4", "--optimizer", "hqq"]
    run("quantize", sharded_folder, whole, *command[3:])
    process = subprocess.Popen([str(BINARY), *map(str, command)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("out.partial/*.safetensors")) and time.monotonic() < deadline:
        if process.poll() is not None:
            break
    process.kill()
    process.wait()
    if not out.exists():
        run(*command, "--resume")
    for path in whole.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_memory_is_that_of_two_tensors(large: Path, tmp_path: Path) -> None:
    """Anonymous memory, sampled while it runs, against twice the largest tensor.

    What the process has anyway (libraries, stacks, the heap's own) is measured by a small run.
    """
    small = tmp_path / "small.safetensors"
    save_file({"m.weight": torch.randn(4, 32)}, small)
    many = ["-w", "int4", "--optimizer", "hqq", "--threads", "2"]
    base = anonymous_peak("quantize", small, tmp_path / "a.safetensors", *many)
    peak = anonymous_peak("quantize", large, tmp_path / "b.safetensors", *many)
    largest = 512 * 1024 * 4
    assert 0 < peak - base < 2 * largest


def anonymous_peak(*arguments: object) -> int:
    """The largest RssAnon seen, in bytes."""
    process = subprocess.Popen(
        [str(BINARY), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status")
        try:
            lines = status.read_text().splitlines()
        except OSError:
            break
        for line in lines:
            if line.startswith("RssAnon:"):
                peak = max(peak, int(line.split()[1]) * 1024)
    assert process.wait() == 0
    return peak


def test_a_full_disk_leaves_nothing(large: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails in the same place."""
    out = tmp_path / "out.safetensors"
    script = f"ulimit -f 1000; trap '' XFSZ; exec {BINARY} quantize {large} {out} -w int8"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected room for" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_version_and_help() -> None:
    shown = run("--version").stdout
    assert shown == f"quanto {quanto.__version__} ({torch.ops.quanto.isa()})\n"
    assert "--group-size" in run("quantize", "--help").stdout


COMMANDS = ("quantize", "dequantize", "inspect", "compare", "verify")


OPTION = re.compile(r"(?<![\w-])-{1,2}[a-z][a-z-]*")


def completed(*words: str) -> set[str]:
    """What bash offers for the last word."""
    script = ROOT / "cpp/quanto/cli/completion.bash"
    line = " ".join(["quanto", *(word or "''" for word in words)])
    code = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
        "_quanto; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_man_page_and_completion_know_every_option(command: str) -> None:
    shown = run(command, "--help").stdout
    options = {word for line in shown.splitlines() for word in OPTION.findall(line[:30])}
    assert {"-h", "--help"} <= options
    page = (ROOT / "docs/man/quanto.1").read_text().replace("\\-", "-")
    section = page.partition(f".SS {command}\n")[2].partition("\n.S")[0]
    assert section
    assert options - set(OPTION.findall(section)) <= {"-h", "--help"}
    assert completed(command, "-") == options


def test_completes_commands_and_values(tmp_path: Path) -> None:
    assert set(COMMANDS) <= completed("")
    assert completed("quantize", "-w", "int") == {"int8", "int4", "int2"}
    assert completed("quantize", "--optimizer", "") == {"absmax", "max", "hqq"}
    (tmp_path / "model").mkdir()
    assert completed("verify", f"{tmp_path}/") == {f"{tmp_path}/model"}
