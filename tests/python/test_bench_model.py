# SPDX-License-Identifier: Apache-2.0
"""The benchmark beside other libraries: its table, torch's packed products, what is absent."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import client, kernels, model, model_chart, model_record, packed_linear, peers
from benchmarks.language_model import FLOAT, NO_LINEAR
from benchmarks.model_record import ModelRecord
from benchmarks.record import Record, Spread

SIZE, GROUP = 64, 32


def layer(bias: bool) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(SIZE, SIZE, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("bias", [False, True])
def test_int8pack_is_within_half_a_step(bias: bool) -> None:
    dense, x = layer(bias), torch.randn(2, 3, SIZE)
    packed = packed_linear.Int8Pack(dense)
    step = dense.weight.abs().amax(1) / 127
    bound = x.abs().sum(-1, keepdim=True) * step / 2 * (1 + 1e-4)
    assert ((packed(x) - dense(x)).abs() <= bound).all()


@pytest.mark.parametrize("bias", [False, True])
def test_int4pack_is_within_half_a_step_of_its_groups(bias: bool) -> None:
    dense, x = layer(bias), torch.randn(2, 3, SIZE)
    packed = packed_linear.Int4Pack(dense, GROUP)
    groups = dense.weight.unflatten(1, (-1, GROUP))
    step = (groups.amax(2) - groups.amin(2)) / 15
    bound = (x.abs().unflatten(-1, (-1, GROUP)).sum(-1) @ step.T) / 2 * (1 + 1e-4)
    assert ((packed(x) - dense(x)).abs() <= bound).all()


def test_only_linears_that_are_not_skipped_are_found() -> None:
    net = nn.ModuleDict({"a": nn.Linear(64, 8), "lm_head": nn.Linear(96, 8), "c": nn.ReLU()})
    assert [name for _, name, _ in peers.linears(net, ("lm_head",))] == ["a"]
    assert peers.group_size(net, ("lm_head",)) == 64
    assert peers.group_size(net, ()) == 32
    net["b"] = nn.Linear(33, 8)
    with pytest.raises(ValueError, match="that 32 divides, got"):
        peers.group_size(net, ())


def test_a_size_counts_shared_tensors_once() -> None:
    net = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    assert peers.size_of(net) == 2 * 8 * 8 * 4
    net[1].weight = net[0].weight
    assert peers.size_of(net) == 8 * 8 * 4


def test_what_cannot_be_measured_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert model.python_of("torchao", None) is None
    assert capsys.readouterr().out == "torchao: no --peers, not measured.\n"
    assert model.python_of("quanto", None) is not None


def test_the_table_is_over_the_float_model_of_the_same_round() -> None:
    records = [
        ModelRecord("torch", FLOAT, "float32", 200, "", [2.0, 4.0], [0.2, 0.4]),
        ModelRecord("torch", NO_LINEAR, "float32", 10, "", [1.0, 1.0], [0.02, 0.04]),
        ModelRecord("quanto", "qint8", "float32", 100, "", [1.0, 3.0], [0.1, 0.3]),
        ModelRecord("sdnq", "int8", "float32", error="no kernel"),
    ]
    lines = model_record.tables(records).splitlines()[3:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[0][3:] == [
        "0", "3000.0 [2000.0-4000.0]", "", "300.0 [200.0-400.0]", "", ""
    ]  # fmt: skip
    assert rows[2][5:] == ["0.62 [0.50-0.75]", "200.0 [100.0-300.0]", "0.62 [0.50-0.75]", "0.65"]
    assert rows[3][3:] == ["no kernel", "", "", "", "", ""]


def test_a_library_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.01)  # torch takes longer to import
    args = model.arguments(["--threads", "1"])
    assert model.start_workers(args, {"quanto": Path(sys.executable)}, keep=True) == []
    said = "quanto: no answer to describe within 0.01 s, not measured.\n"
    assert capsys.readouterr().out == said


def test_the_chart_has_a_panel_for_each_dtype_and_part(tmp_path: Path) -> None:
    def layer_of(library: str, scheme: str, *seconds: float, error: str = "") -> Record:
        return Record(library, scheme, "float32", 8, 8, 1, error=error, seconds=list(seconds))

    layers = [
        layer_of("quanto", "torch", 2.0, 4.0),
        layer_of("quanto", "qint8", 1.0, 1.0),
        layer_of("sdnq", "torch", 1.0, 1.0),
        layer_of("sdnq", "int8", error="no kernel"),
    ]
    models = [
        ModelRecord("torch", FLOAT, "bfloat16", 200, "", [2.0], [0.2]),
        ModelRecord("quanto", "qint8", "bfloat16", 100, "", [1.0], [0.4]),
    ]
    assert model_chart.panels(layers, models) == {
        ("float32", "Linear 8 x 8, M = 1"): [("quanto", "qint8", Spread(0.375, 0.25, 0.5))],
        ("bfloat16", "language model, prefill"): [("quanto", "qint8", Spread(0.5, 0.5, 0.5))],
        ("bfloat16", "language model, decode"): [("quanto", "qint8", Spread(2.0, 2.0, 2.0))],
    }
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / "chart.svg"
    model_chart.draw(path, layers, models, "a machine")
    assert path.read_text().startswith("<?xml")


def test_every_library_has_a_way_to_quantize() -> None:
    assert set(peers.SCHEMES) == set(peers.QUANTIZERS)


def test_an_earlier_run_is_printed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    layers = [
        Record("quanto", "torch", "float32", 1000, 1000, 1, bytes=4_000_000, seconds=[1e-3]),
        Record("quanto", "torch", "float32", 1000, 1000, 8, bytes=4_000_000, seconds=[2e-3]),
        Record("quanto", "qint8", "float32", 1000, 1000, 1, bytes=1_000_000, seconds=[4e-4]),
        Record("quanto", "qint8", "float32", 1000, 1000, 8, error="no kernel"),
    ]
    limits = {"read_gbs": 10.0, "copy_gbs": 5.0, "computes": [{"dtype": "fp32", "gops": 100.0}]}
    parts = [["linear", "stock", [asdict(record) for record in layers]]]
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"facts": "A machine.", "limits": limits, "parts": parts}))
    model.main(["--json", str(file), "--chart", str(tmp_path / "chart.svg")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A machine."
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[-2:]]
    assert rows[0] == ["float32", "quanto", "torch", "1000 us, 40%", "2000 us, 20%"]
    assert rows[1][3:] == ["400 us, 0.40 [0.40-0.40], 25%", "no kernel"]
    assert (tmp_path / "chart.svg").exists()


@pytest.mark.parametrize(
    "text", [None, "{", "{}", "[]"], ids=["absent", "not JSON", "empty", "a list"]
)
@pytest.mark.parametrize("command", [kernels, model], ids=lambda c: c.__name__)
def test_results_that_cannot_be_read(command, text, tmp_path, capsys):
    file = tmp_path / "run.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        command.main(["--json", str(file)])
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{file}: expected the results of an earlier run, got: " in last
