# SPDX-License-Identifier: Apache-2.0
"""What quanto_kernels_bench measured: one record per benchmark, a value per repetition."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .record import Spread

LINEAR = re.compile(r"linear/(\w+)/(\w+)/m(\d+)/(cold|warm|small)/t(\d+)")
ELEMENTWISE = re.compile(r"elementwise/(\w+)/t(\d+)")
COUNTERS = ("us", "GB/s", "GOP/s", "%limit", "over_copy")


@dataclass
class Measured:
    """One benchmark; `counters` are those of COUNTERS that it has."""

    isa: str
    kernel: str
    limit: str
    """An instruction, memory, cache, read or copy; empty if it has none."""
    threads: int
    counters: dict[str, list[float]] = field(default_factory=dict)

    def spread(self, counter: str) -> Spread:
        """Of a counter that it has."""
        return Spread.of(self.counters[counter])


@dataclass
class Linear(Measured):
    """A linear layer."""

    activation: str = ""
    weight: str = ""
    rows: int = 0
    place: str = "cold"
    """cold: weights rotate through memory; warm: one in the second cache; small: 64 x 64."""

    @property
    def name(self) -> str:
        """For a reader."""
        place = {"cold": "", "warm": " in cache", "small": ", 64 x 64"}[self.place]
        return f"{self.activation} x {self.weight}, M = {self.rows}{place}, {self.threads} threads"


@dataclass
class Elementwise(Measured):
    """A kernel on 1 GiB of bfloat16; `kernel` is its name."""

    @property
    def name(self) -> str:
        """For a reader."""
        return f"{self.kernel}, {self.threads} threads"


def parse(report: dict[str, Any]) -> list[Linear | Elementwise]:
    """From Google Benchmark's JSON, in the order in which the program names them.

    A benchmark of another name is a ValueError.
    """
    found: dict[str, Linear | Elementwise] = {}
    for run in sorted(_repetitions(report), key=lambda run: run["family_index"]):
        name = run["run_name"]
        record = found.setdefault(name, _record(name, run["label"]))
        for counter in COUNTERS:
            if counter in run:
                record.counters.setdefault(counter, []).append(float(run[counter]))
    return list(found.values())


def _repetitions(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for run in report["benchmarks"]:
        if run.get("error_occurred"):
            raise ValueError(f"{run['name']}: {run['error_message']}")
        if run["run_type"] == "iteration":
            yield run


def _record(name: str, label: str) -> Linear | Elementwise:
    how, _, limit = label.partition(", ")
    isa, _, variant = how.partition(" ")
    if match := LINEAR.match(name):
        activation, weight, rows, place, threads = match.groups()
        return Linear(isa, variant, limit, int(threads), {}, activation, weight, int(rows), place)
    if match := ELEMENTWISE.match(name):
        return Elementwise(isa, match[1], limit, int(match[2]))
    raise ValueError(f"quanto_kernels_bench: expected linear/... or elementwise/..., got {name}")
