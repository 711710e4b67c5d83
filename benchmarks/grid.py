# SPDX-License-Identifier: Apache-2.0
"""Every pair of activation and weight at every number of rows, over torch's own Linear."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .case import Case, Layer
from .client import Worker
from .record import Record, Spread
from .tables import over_torch, spread, table

ROWS = (1, 2, 4, 5, 8, 16, 32, 64, 128, 512)
WEIGHTS = ("qint8", "qint4 g128", "qint4 g64", "qint2 g64", "qfloat8")
ACTIVATIONS = {
    "float32": ("float32", ""),
    "bfloat16": ("bfloat16", ""),
    "float16": ("float16", ""),
    "int8": ("bfloat16", " dynamic"),
}
"""The dtype of a layer's inputs, and of torch's beside it; how its schemes end."""


@dataclass(frozen=True)
class Goal:
    """At most so much of torch's time."""

    name: str
    wide: float
    """With AVX-512."""
    avx2: float
    takes: Callable[[Record], bool]

    def bound(self, isa: str) -> float | None:
        """The figure on that instruction set; None: there is none."""
        if isa.startswith(("avx512", "amx")):
            return self.wide
        return self.avx2 if isa.startswith("avx2") else None


def _one_row(weight: str) -> Callable[[Record], bool]:
    layer = (1, "float32", 4096, 4096)
    return lambda r: (r.rows, r.dtype, r.n, r.k) == layer and r.layer.startswith(weight)


GOALS = (
    Goal("every pair and number of rows", 1, 1, lambda record: True),
    Goal("M = 1, fp32 x int8, 4096 x 4096", 0.25, 0.18, _one_row("qint8")),
    Goal("M = 1, fp32 x int4, 4096 x 4096", 0.15, 0.12, _one_row("qint4")),
    Goal("M = 1, fp32 x int2, 4096 x 4096", 0.12, 0.15, _one_row("qint2")),
)


def cases(
    worker: Worker,
    sizes: list[tuple[int, int]],
    activations: list[str],
    rows: tuple[int, ...],
    working_set: int,
) -> Iterator[tuple[str, Case]]:
    """What to measure, and its name: a size and an activation, torch's Linear first."""
    variants = [(count, "module") for count in rows]
    for n, k in sizes:
        for activation in activations:
            dtype, suffix = ACTIVATIONS[activation]
            case = Case(n, k, working_set)
            for scheme in (None, *(weight + suffix for weight in WEIGHTS)):
                case.add(worker, Layer(scheme, dtype), variants)
            yield f"{n} x {k}, {activation} activations", case


def tables(name: str, records: list[Record]) -> str:
    """A line per weight and a column per number of rows; the worst of them; what failed."""
    found = over_torch(records)
    cells = {(record.layer, record.rows): spread(value, 1, 2) for record, value in found}
    weights = dict.fromkeys(record.layer for record in records if record.layer != "torch")
    rows = sorted({record.rows for record in records})
    lines = [[weight, *(cells.get((weight, m), "") for m in rows)] for weight in weights]
    failed = dict.fromkeys(f"{r.layer} {r.dtype}: {r.error}" for r in records if r.error)
    shown = table([name, *(f"M = {m}" for m in rows)], lines)
    return "\n".join([shown, "", *([_worst(found)] if found else []), *failed])


def _worst(found: list[tuple[Record, Spread]]) -> str:
    record, value = max(found, key=lambda pair: pair[1].median)
    above = sum(value.median > 1 for _, value in found)
    return (
        f"Worst: {record.layer}, M = {record.rows}: {spread(value, 1, 2)}. "
        f"Above 1.0: {above} of {len(found)}."
    )


def goals(found: list[tuple[Record, Spread]], isa: str) -> str:
    """One line per figure to reach: what came nearest to missing it."""
    lines = []
    for goal in GOALS:
        bound = goal.bound(isa)
        taken = [(record, value) for record, value in found if goal.takes(record)]
        if bound is None or not taken:
            continue
        worst, value = max(taken, key=lambda pair: pair[1].median)
        reached = sum(value.median <= bound for _, value in taken)
        layer = f"{worst.n} x {worst.k}, {worst.dtype}, {worst.layer}, M = {worst.rows}"
        of = f"{reached} of {len(taken)}"
        lines.append([goal.name, f"<= {bound:g}", layer, spread(value, 1, 2), of])
    return table(["case", "figure to reach", "worst case", "/ torch", "reached by"], lines)
