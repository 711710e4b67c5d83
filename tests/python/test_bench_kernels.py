# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of the kernels makes of Google Benchmark's report."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import kernels_chart, kernels_tables, overhead
from benchmarks.kernels_goals import GOALS, concerned
from benchmarks.kernels_record import Elementwise, Linear, parse


def run(name: str, label: str, family: int, **counters: float) -> dict[str, Any]:
    return {
        "name": f"{name}/manual_time",
        "run_name": f"{name}/manual_time",
        "run_type": "iteration",
        "family_index": family,
        "label": label,
        **counters,
    }


def rates(gops: float, share: float) -> dict[str, float]:
    return {"GB/s": gops / 2, "GOP/s": gops, "%limit": share}


def report() -> dict[str, Any]:
    layer, label = "linear/bf16/int4_g64", "avx2 panel, vfmadd ymm"
    elementwise = {"GB/s": 9.0, "%limit": 90.0, "over_copy": 1.25}
    runs = [
        run(f"{layer}/m16/cold/t2", label, 1, **rates(30, 20)),
        run(f"{layer}/m128/cold/t2", label, 2, **rates(100, 80)),
        run("elementwise/weight_int8/t2", "avx2, copy", 3, **elementwise),
        run(f"{layer}/m1/cold/t2", "avx2 gemv, memory", 0, **rates(10, 74)),
        run(f"{layer}/m16/cold/t2", label, 1, **rates(90, 60)),
        run(f"{layer}/m128/cold/t2", label, 2, **rates(100, 60)),
    ]
    return {"benchmarks": [*runs, {**runs[0], "run_type": "aggregate", "GOP/s": 1e9}]}


def test_a_record_holds_every_repetition_and_no_aggregate() -> None:
    records = parse(report())
    assert [record.name for record in records] == [
        "bf16 x int4_g64, M = 1, 2 threads",
        "bf16 x int4_g64, M = 16, 2 threads",
        "bf16 x int4_g64, M = 128, 2 threads",
        "weight_int8, 2 threads",
    ]
    sixteen, moving = records[1], records[3]
    assert isinstance(sixteen, Linear)
    assert (sixteen.isa, sixteen.kernel, sixteen.limit) == ("avx2", "panel", "vfmadd ymm")
    assert sixteen.counters["GOP/s"] == [30, 90]
    assert isinstance(moving, Elementwise)
    assert moving.limit == "copy"


def test_unknown_names_and_errors_are_refused() -> None:
    with pytest.raises(ValueError, match="expected linear/"):
        parse({"benchmarks": [run("other/int8", "avx2", 0)]})
    failed = {**run("linear/x", "", 0), "error_occurred": True, "error_message": "no memory"}
    with pytest.raises(ValueError, match="no memory"):
        parse({"benchmarks": [failed]})


def test_goals_take_their_layers_alone() -> None:
    records = parse(report())
    found = {goal.name: [v for _, v in concerned(goal, records)] for goal in GOALS}
    assert {name: values for name, values in found.items() if values} == {
        "M = 1, int4 g64": [[74]],
        "M >= 128, bf16 x any": [[80, 60]],
        "M = 8 to 32": [[30, 90]],
        "1 GiB of bf16 to int8": [[1.25]],
    }


def test_the_table_says_what_was_reached() -> None:
    lines = kernels_tables.goals(parse(report())).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["M = 1, int4 g64"][0] == ">= 75 % of limit"
    assert cells["M = 1, int4 g64"][2:] == ["74 [74-74]", "0 of 1"]
    assert cells["M = 8 to 32"][2:] == ["60 [30-90]", "0 of 1"]
    assert cells["1 GiB of bf16 to int8"][0] == "<= 1.2 x a copy"
    assert cells["1 GiB of bf16 to int8"][2:] == ["1.25 [1.25-1.25]", "0 of 1"]


def test_a_small_layer_is_told_by_its_microseconds() -> None:
    small = run("linear/fp32/int8/m1/small/t1", "avx2 gemv", 0, us=0.5, **{"GB/s": 8.0})
    records = parse({"benchmarks": [small, {**small, "us": 0.75}]})
    found = {goal.name: values for goal in GOALS for _, values in concerned(goal, records)}
    assert found == {"a call of 64 x 64, M = 1": [0.5, 0.75]}
    assert "0.62 [0.50-0.75]" in kernels_tables.linear(records)
    assert "<= 1 us" in kernels_tables.goals(records)


def test_a_layer_in_cache_is_told_by_its_share_of_that_cache() -> None:
    layer = "linear/int8/int4_g64/m1/warm/t1"
    rates = {"GB/s": 30.0, "GOP/s": 100.0}
    reads = run(layer, "avx512 gemv, cache", 0, **{**rates, "%limit": 50.0})
    again = run(layer, "avx512 gemv, cache", 0, **{**rates, "%limit": 60.0})
    records = parse({"benchmarks": [reads, again]})
    found = {goal.name: values for goal in GOALS for _, values in concerned(goal, records)}
    assert found == {"M = 1 in cache, int8 x int4": [30, 30]}
    table = kernels_tables.linear(records)
    assert "M = 1 in cache: GB/s, % of L2" in table
    assert "| 30.0, 55 [50-60]  " in table
    computes = run(layer, "avx512 gemv, vfmadd zmm", 0, **{**rates, "%limit": 50.0})
    assert "30.0, 50 [50-50] vfmadd zmm" in kernels_tables.linear(parse({"benchmarks": [computes]}))


def test_the_lines_above_the_tables_name_sizes_and_limits() -> None:
    context = {"isa": "avx2", "quanto": "1.0", "cold_mib": "600", "warm_kib": "1024"}
    computes = [{"dtype": "fp32", "instruction": "vfmadd ymm", "gops": 260.0}]
    limits = {"threads": 2, "read_gbs": 17.6, "copy_gbs": 15.0, "computes": computes}
    text = kernels_tables.facts(context, limits, "make bench-kernels")
    for said in ("600 MiB", "codes are 1024 KiB", "read 17.6 GB/s", "vfmadd ymm 260"):
        assert said in text


def test_tiles_have_no_figure_to_reach() -> None:
    layer = "linear/int8/int8/m128/cold/t2"
    tiles = parse(
        {"benchmarks": [run(layer, "amx_bf16 panel_amx_int8, tdpbssd", 0, **rates(1, 1))]}
    )
    words = parse({"benchmarks": [run(layer, "avx512 panel_vnni, vpdpbusd zmm", 0, **rates(1, 1))]})
    assert not [goal for goal in GOALS if list(concerned(goal, tiles))]
    assert [goal.name for goal in GOALS if list(concerned(goal, words))] == [
        "M >= 128, int8 x int8"
    ]


def test_every_pair_has_a_line_and_every_number_of_rows_a_column() -> None:
    lines = kernels_tables.linear(parse(report())).splitlines()
    header = [cell.strip() for cell in lines[1].split("|")[1:-1]]
    assert [column.split(":")[0] for column in header[3:]] == ["M = 1", "M = 16", "M = 128"]
    values = [cell.strip() for cell in lines[3].split("|")[1:-1]]
    assert values == [
        "2",
        "bf16",
        "int4_g64",
        "5.0, 74 [74-74]",
        "60, 40 [20-60] vfmadd ymm",
        "100, 70 [60-80] vfmadd ymm",
    ]
    assert "weight_int8" in kernels_tables.elementwise(parse(report()))


def test_the_chart_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / "chart.svg"
    kernels_chart.draw(path, parse(report()), "a machine")
    assert path.read_text().startswith("<?xml")


def test_a_profile_is_summed_by_part() -> None:
    report = "  250  libpython3.11.so.1.0\n 50  python3.11\n 7  libtorch_cpu.so\n\n 3  [vdso]\n"
    assert overhead.parse(report) == {"python": 300, "torch_cpu": 7, "rest": 3}
