# SPDX-License-Identifier: Apache-2.0
"""What kernels.py prints: Markdown."""

import statistics
from typing import Any

from .kernels_goals import GOALS, LESS, UNITS, Goal, Record, concerned
from .kernels_record import Elementwise, Linear
from .machine import cpu_name
from .record import Spread
from .tables import spread, table

MISSING = ""
NAMED_ABOVE = ("memory", "cache", "read", "copy")
"""Limits that are those of a column; of others, the instruction stands in the cell."""
PLACES = ("small", "warm", "cold")


def facts(context: dict[str, Any], limits: dict[str, Any], command: str) -> str:
    """The lines that stand above the tables."""
    computes = ", ".join(f"{c['instruction']} {c['gops']:.0f}" for c in limits["computes"])
    return "\n".join(
        [
            f"`{command}`",
            "",
            f"Machine: {cpu_name()}, kernels {context['isa']}, quanto {context['quanto']}.",
            f"Limits of {limits['threads']} threads: read {limits['read_gbs']:.1f} GB/s, copy "
            f"{limits['copy_gbs']:.1f} GB/s; 10^9 operations/s: {computes}.",
            f"K = N = 4096. Weights rotate through {context['cold_mib']} MiB; in cache: one whose "
            f"codes are {context['warm_kib']} KiB, half of a core's second cache (L2). "
            "Median [lowest-highest] of the repetitions, in each of which calls and measurements "
            "of the limits took turns: the larger of the times that memory (or L2) and the best "
            "instruction allowed, over the time of a call, medians of all three.",
        ]
    )


def goals(records: list[Record]) -> str:
    """One line per figure to reach: what came nearest to missing it."""
    header = ["case", "figure to reach", "worst case", "figure", "reached by"]
    lines = [_goal(goal, records) for goal in GOALS]
    return table(header, [line for line in lines if line])


def _goal(goal: Goal, records: list[Record]) -> list[str]:
    found = list(concerned(goal, records))
    if not found:
        return []
    isa = records[0].isa
    choose = max if goal.counter in LESS else min
    record, figures = choose(found, key=lambda pair: statistics.median(pair[1]))
    reached = sum(goal.reached(statistics.median(values), isa) for _, values in found)
    sign = "<=" if goal.counter in LESS else ">="
    digits = 2 if goal.counter in LESS else 0
    return [
        goal.name,
        f"{sign} {goal.bound(isa):g} {UNITS[goal.counter]}",
        record.name,
        spread(Spread.of(figures), 1, digits),
        f"{reached} of {len(found)}",
    ]


def linear(records: list[Record]) -> str:
    """A line per pair and number of threads, a column per number of rows."""
    found = [record for record in records if isinstance(record, Linear)]
    places = sorted({(r.rows, PLACES.index(r.place)) for r in found})
    pairs = dict.fromkeys((r.threads, r.activation, r.weight) for r in found)
    cells = {
        (r.threads, r.activation, r.weight, r.rows, PLACES.index(r.place)): _cell(r) for r in found
    }
    header = ["threads", "activation", "weight", *(_column(*place) for place in places)]
    lines = [
        [str(pair[0]), *pair[1:], *(cells.get((*pair, *place), MISSING) for place in places)]
        for pair in pairs
    ]
    return table(header, lines)


def _column(rows: int, place: int) -> str:
    if rows > 1:
        return f"M = {rows}: GOP/s, % of limit"
    names = {"small": "64 x 64, M = 1: us", "warm": "M = 1 in cache: GB/s, % of L2"}
    return names.get(PLACES[place], "M = 1: GB/s, % of limit")


def _cell(record: Linear) -> str:
    if record.place == "small":
        return spread(record.spread("us"), 1, 2)
    rate = record.spread("GB/s" if record.rows == 1 else "GOP/s")
    if "%limit" not in record.counters:
        return spread(rate, 1, 1)
    return f"{rate.median:.{1 if record.rows == 1 else 0}f}, {_share(record)}"


def _share(record: Record) -> str:
    limit = "" if record.limit in NAMED_ABOVE else f" {record.limit}"
    return f"{spread(record.spread('%limit'), 1, 0)}{limit}"


def elementwise(records: list[Record]) -> str:
    """A line per kernel that moves memory, if any was run."""
    header = ["threads", "1 GiB of bf16", "GB/s", "% of", "", "/ copy of 1 GiB"]
    lines = [
        [
            str(record.threads),
            record.kernel,
            spread(record.spread("GB/s"), 1, 1),
            record.limit,
            spread(record.spread("%limit"), 1, 0),
            spread(record.spread("over_copy"), 1, 2),
        ]
        for record in records
        if isinstance(record, Elementwise)
    ]
    return table(header, lines) if lines else ""
