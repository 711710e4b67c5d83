# SPDX-License-Identifier: Apache-2.0
"""What the other commands read: files of the command line and of Python."""

import json
from pathlib import Path

import pytest
import torch
from cli import (
    as_bytes,
    assert_same_tensors,
    every_scheme,
    needs_binary,
    options_of,
    quantized_in_python,
    run,
    tensors_in,
)
from safetensors.torch import load_file, safe_open

import quanto
from quanto.integrations.metadata import file_metadata

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytestmark = needs_binary


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
