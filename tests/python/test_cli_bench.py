# SPDX-License-Identifier: Apache-2.0
"""`quanto bench` measures every type against the machine's limits; how fast is not asserted."""

import json
import math

import pytest
from cli import needs_binary, run

import quanto

pytestmark = needs_binary

TYPES = {"qint2", "qint4", "qint8", "qfloat8_e4m3fn", "qfloat8_e5m2", "qfloat8_e4m3fnuz"}


def test_every_kernel_has_its_share_of_a_limit() -> None:
    report = json.loads(run("bench", "--json", "--threads", 1).stdout)
    assert report["version"] == quanto.__version__
    assert report["threads"] == 1
    assert report["read_gbs"] > 0
    assert report["copy_gbs"] > 0
    assert all(compute["gops"] > 0 for compute in report["computes"])
    types: dict[str, set[str]] = {}
    for kernel in report["kernels"]:
        types.setdefault(kernel["operation"].partition(" x ")[0], set()).add(kernel["qtype"])
        assert kernel["limit"] in ("memory", "compute")
        assert kernel["share"] > 0
        assert math.isfinite(kernel["share"])
        assert kernel.get("gbs", kernel.get("gops")) > 0
    assert types == dict.fromkeys(("quantize", "dequantize", "linear, 1", "linear, 128"), TYPES)


def test_the_table_is_of_the_instruction_set_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTO_FORCE_ISA", "ref")
    lines = run("bench", "-j", 2).stdout.splitlines()
    assert lines[0] == "2 threads, ref kernels"
    rows = [line for line in lines if "% " in line]
    assert len(rows) == 4 * len(TYPES) + 1
    assert all(line.endswith(("% memory", "% compute")) for line in rows)
