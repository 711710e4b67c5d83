# SPDX-License-Identifier: Apache-2.0
"""The benchmark of every pair at every number of rows: its turns, ratios and tables."""

from typing import Any, cast

import pytest
import torch
from torch import nn

import quanto
from benchmarks import grid, peers
from benchmarks.case import Case, Layer
from benchmarks.client import Worker
from benchmarks.record import Record
from benchmarks.tables import over_torch


def record(layer: str, rows: int, *seconds: float, error: str = "") -> Record:
    return Record("quanto", layer, "float32", 4096, 4096, rows, error=error, seconds=list(seconds))


def records() -> list[Record]:
    return [
        record("torch", 1, 2.0, 4.0, 1.0),
        record("torch", 16, 1.0, 1.0, 1.0),
        record("qint8", 1, 0.2, 1.6, 0.3),
        record("qint8", 16, 0.5, 1.5, 1.25),
        record("qint4 g64", 1, 0.2, 0.4, 0.1),
        record("qint4 g64", 16, error="no kernel"),
    ]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_cell_is_the_ratio_of_each_round() -> None:
    lines = grid.tables("4096 x 4096, float32", records()).splitlines()
    assert cells(lines[1]) == ["4096 x 4096, float32", "M = 1", "M = 16"]
    assert cells(lines[3]) == ["qint8", "0.30 [0.10-0.40]", "1.25 [0.50-1.50]"]
    assert cells(lines[4]) == ["qint4 g64", "0.10 [0.10-0.10]", ""]
    assert lines[6:] == [
        "Worst: qint8, M = 16: 1.25 [0.50-1.50]. Above 1.0: 1 of 3.",
        "qint4 g64 float32: no kernel",
    ]


def test_a_table_of_failures_names_them() -> None:
    broken = [record("torch", 1, error="no memory"), record("qint8", 1, 1.0)]
    assert over_torch(broken) == []
    assert grid.tables("1 x 1", broken).splitlines()[-1] == "torch float32: no memory"


@pytest.mark.parametrize(("isa", "bound"), [("amx_bf16", "<= 0.25"), ("avx2_vnni", "<= 0.18")])
def test_figures_to_reach_depend_on_the_instruction_set(isa: str, bound: str) -> None:
    lines = grid.goals(over_torch(records()), isa).splitlines()[3:]
    rows = {cells(line)[0]: cells(line)[1:] for line in lines}
    every = rows.pop("every pair and number of rows")
    assert every[0] == "<= 1"
    assert every[1] == "4096 x 4096, float32, qint8, M = 16"
    assert every[2:] == ["1.25 [0.50-1.50]", "2 of 3"]
    assert rows["M = 1, fp32 x int8, 4096 x 4096"][0] == bound
    assert rows["M = 1, fp32 x int4, 4096 x 4096"][3] == "1 of 1"
    assert "M = 1, fp32 x int2, 4096 x 4096" not in rows


def test_the_words_of_a_scheme_are_a_group_size_and_dynamic_activations() -> None:
    net = nn.Sequential(nn.Linear(256, 32, dtype=torch.bfloat16))
    peers.quantize("quanto", net, "qint4 g64 dynamic")
    layer = cast(Any, net[0])
    assert layer.weight.qtype is quanto.qint4
    assert layer.weight._group_size == 64
    assert layer.activation_qtype is quanto.qint8
    assert layer.dynamic
    with pytest.raises(ValueError, match="wide"):
        peers.quantize("quanto", net, "qint4 wide")


class Recorder:
    """A worker that writes down what it measures."""

    name = "quanto"

    def __init__(self) -> None:
        self.measured: list[tuple[str, int]] = []

    def ask(self, do: str, **asked: Any) -> dict[str, Any]:
        return {}

    def measure(self, key: str, rows: int, **asked: Any) -> float:
        self.measured.append((key, rows))
        return 1.0


def test_layers_take_turns_at_each_number_of_rows() -> None:
    worker = Recorder()
    case = Case(8, 8, working_set=1)
    for scheme in (None, "qint8"):
        case.add(cast(Worker, worker), Layer(scheme, "float32"), [(1, "module"), (2, "module")])
    assert len(list(case.measure(rounds=2, seconds=1))) == 8
    once = [("torch float32", 1), ("qint8 float32", 1), ("torch float32", 2), ("qint8 float32", 2)]
    assert worker.measured == once * 2
