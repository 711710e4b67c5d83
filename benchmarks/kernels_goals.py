# SPDX-License-Identifier: Apache-2.0
"""The figures that the kernels are meant to reach, by instruction set."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .kernels_record import Elementwise, Linear

Record = Linear | Elementwise
OF_128 = "of M = 128"
"""The rate over that of the same layer at 128 rows, in percent."""
FLOATS = ("fp32", "bf16", "fp16")
IN_TILES = ("bf16", "int8")
"""Activations whose limit is that of tiles, where there are any and rows are more than 4."""
LESS = ("over_copy", "us")
"""Counters of which less is better."""
UNITS = {
    "us": "us",
    "%limit": "% of limit",
    OF_128: "% of M = 128",
    "over_copy": "x a copy",
    "GB/s": "GB/s",
}


@dataclass(frozen=True)
class Goal:
    """At least (at most, for those of LESS) so much of a counter; None: none on that family."""

    name: str
    counter: str
    wide: float | None
    """With AVX-512."""
    avx2: float | None
    takes: Callable[[Linear], bool] | str
    """Which layers, or the name of a kernel."""

    def bound(self, isa: str) -> float | None:
        """The figure on that instruction set."""
        if isa.startswith(("avx512", "amx")):
            return self.wide
        return self.avx2 if isa.startswith("avx2") else None

    def concerns(self, record: Record) -> bool:
        """Figures are for all threads but where caches feed one core; tiles have none yet."""
        if self.bound(record.isa) is None or self.counter not in {*record.counters, OF_128}:
            return False
        if isinstance(record, Elementwise) or isinstance(self.takes, str):
            return isinstance(record, Elementwise) and record.kernel == self.takes
        tiles = record.isa.startswith("amx") and record.rows > 4 and record.activation in IN_TILES
        if self.counter == "%limit" and tiles:
            return False
        place = {"GB/s": "warm", "us": "small"}.get(self.counter, "cold")
        return record.place == place and self.takes(record)

    def reached(self, median: float, isa: str) -> bool:
        """Whether a figure is as good as it should be."""
        bound = self.bound(isa)
        assert bound is not None
        return median <= bound if self.counter in LESS else median >= bound


def _one_row(weight: str) -> Callable[[Linear], bool]:
    return lambda r: r.rows == 1 and r.activation in FLOATS and r.weight == weight


def _in_cache(floats: bool, weight: str) -> Callable[[Linear], bool]:
    return lambda r: (
        r.threads == 1 and (r.activation in FLOATS) == floats and r.weight.split("_")[0] == weight
    )


def _many_rows(activations: tuple[str, ...], weight: str = "") -> Callable[[Linear], bool]:
    return lambda r: (
        r.rows >= 128 and r.activation in activations and (not weight or r.weight == weight)
    )


def _few_rows(record: Linear) -> bool:
    return 8 <= record.rows <= 32


GOALS = (
    Goal("M = 1, int8 weights, float activations", "%limit", 85, 85, _one_row("int8")),
    Goal("M = 1, int4 g64", "%limit", 90, 75, _one_row("int4_g64")),
    Goal("M = 1, int2 g64", "%limit", 85, None, _one_row("int2_g64")),
    Goal("M = 1, float8", "%limit", 90, 70, _one_row("float8")),
    Goal("M = 1 in cache, int8 x int8", "GB/s", 60, 28, _in_cache(False, "int8")),
    Goal("M = 1 in cache, int8 x int4", "GB/s", 50, 22, _in_cache(False, "int4")),
    Goal("M = 1 in cache, float x int8", "GB/s", 25, 17, _in_cache(True, "int8")),
    Goal("M = 1 in cache, float x int4", "GB/s", 30, 14, _in_cache(True, "int4")),
    Goal("a call of 64 x 64, M = 1", "us", 1, 1, lambda record: True),
    Goal("M >= 128, int8 x int8", "%limit", 85, 80, _many_rows(("int8",), "int8")),
    Goal("M >= 128, int8 x int4 g128", "%limit", 78, 60, _many_rows(("int8",), "int4_g128")),
    Goal("M >= 128, int8 x int4 g64", "%limit", 74, 58, _many_rows(("int8",), "int4_g64")),
    Goal("M >= 128, int8 x int4 g32", "%limit", 60, 45, _many_rows(("int8",), "int4_g32")),
    Goal("M >= 128, bf16 x any", "%limit", 80, 75, _many_rows(("bf16",))),
    Goal("M >= 128, fp32 or fp16 x any", "%limit", 80, 75, _many_rows(("fp32", "fp16"))),
    Goal("M = 8 to 32", OF_128, 70, 70, _few_rows),
    Goal("1 GiB of bf16 to int8", "over_copy", 1.2, 1.2, "weight_int8"),
    Goal("1 GiB of bf16 to int4", "over_copy", 1.6, 1.6, "weight_int4"),
    *(
        Goal(f"{kernel}, of a copy", "%limit", 80, 80, kernel)
        for kernel in ("absmax", "min_max", "quantize_int8", "quantize_float8", "quantize_int4")
    ),
    *(
        Goal(f"{kernel}, of a copy", "%limit", 80, 80, kernel)
        for kernel in ("dequantize_int8", "dequantize_float8", "dequantize_int4", "pack_int4")
    ),
)


def values(goal: Goal, record: Record, records: list[Record]) -> list[float]:
    """A figure per repetition; none at all where the layer was not measured at 128 rows."""
    if goal.counter != OF_128:
        return record.counters[goal.counter]
    assert isinstance(record, Linear)
    key = (record.activation, record.weight, record.threads, 128)
    for base in records:
        if isinstance(base, Linear) and key == (
            base.activation,
            base.weight,
            base.threads,
            base.rows,
        ):
            pairs = zip(record.counters["GOP/s"], base.counters["GOP/s"], strict=True)
            return [100 * own / other for own, other in pairs]
    return []


def concerned(goal: Goal, records: list[Record]) -> Iterator[tuple[Record, list[float]]]:
    """The records that a goal is about, with their figures: of the most threads, but in cache."""
    most = max(record.threads for record in records)
    for record in records:
        cached = isinstance(record, Linear) and record.place != "cold"
        if goal.concerns(record) and (cached or record.threads == most):
            figures = values(goal, record, records)
            if figures:
                yield record, figures
