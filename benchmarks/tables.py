"""What run.py prints: Markdown."""

import argparse
import statistics
from typing import Any

from .block import FLOAT, BlockRecord
from .client import Worker
from .machine import Limits, cpu_name
from .record import Record, Spread, ratio


def facts(
    args: argparse.Namespace, workers: list[Worker], limits: Limits, working_set: int
) -> list[str]:
    """The lines that stand above the tables."""
    libraries = "; ".join(
        f"{worker.name} {worker.facts['version']} on torch {worker.facts['torch']}"
        for worker in workers
    )
    computes = ", ".join(
        f"{c['instruction']} ({c['dtype']}) {c['gops']:.0f}" for c in limits.computes
    )
    malloc = "glibc's own" if args.stock_malloc else "raised (temporaries stay mapped)"
    return [
        f"Machine: {cpu_name()}, {args.threads} threads, kernels {workers[0].facts['isa']}.",
        f"Limits: read {limits.read_gbs:.1f} GB/s, copy {limits.copy_gbs:.1f} GB/s; "
        f"10^9 operations/s: {computes}.",
        f"Libraries: {libraries}.",
        f"Calls rotate over copies of a layer that fill {working_set / 2**20:.0f} MiB; "
        f"{args.rounds} rounds of {args.seconds} s; malloc thresholds {malloc}.",
        "Median [lowest-highest]. / torch: the time over that of torch's Linear of the same dtype "
        "in the same process and round. % of limit: the larger of the two limits over the time.",
    ]


def table(header: list[str], lines: list[list[str]]) -> str:
    """Aligned columns, after an empty line."""
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    padded = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in [header, *lines]
    ]
    return "\n".join(["", padded[0], rule, *padded[1:]])


def base_of(records: list[Record], record: Record) -> Record:
    """torch's layer of the record's dtype, in the same worker, through the same kind of call."""
    call = "functional" if record.call == "operator" else record.call
    return next(
        r
        for r in records
        if (r.layer, r.library, r.dtype, r.rows, r.call)
        == ("torch", record.library, record.dtype, record.rows, call)
    )


def over_torch(records: list[Record]) -> list[tuple[Record, Spread]]:
    """Every quantized layer that ran, and its time over that of torch's in the same round."""
    pairs = ((record, base_of(records, record)) for record in records)
    return [
        (own, ratio(own, base))
        for own, base in pairs
        if own is not base and not own.error and not base.error
    ]


def linear(records: list[Record], limits: Limits) -> str:
    """One line per layer and number of rows, with the machine's limits for it."""
    header = ["size", "dtype", "rows", "library", "layer", "us", "/ torch", "GB/s", "Gop/s"]
    header += ["memory limit us", "compute limit us", "% of limit"]
    ordered = sorted(records, key=lambda record: record.rows)
    return table(
        header, [_linear_line(record, base_of(records, record), limits) for record in ordered]
    )


def layers(records: list[Record], limits: Limits) -> str:
    """One line per layer, all numbers of rows side by side."""
    rows = sorted({record.rows for record in records})
    lines: dict[tuple[str, ...], dict[int, str]] = {}
    for record in records:
        base = base_of(records, record)
        cell = record.error
        if not cell:
            over = "" if record is base or base.error else f"{spread(ratio(record, base), 1, 2)}, "
            time = statistics.median(record.seconds)
            cell = f"{1e6 * time:.0f} us, {over}{limits.seconds(record) / time:.0%}"
        line = lines.setdefault((record.dtype, record.library, record.layer), {})
        line[record.rows] = cell
    header = ["dtype", "library", "layer"] + [f"M = {m}: time, / torch, % of limit" for m in rows]
    return table(header, [[*key, *(line.get(m, "") for m in rows)] for key, line in lines.items()])


def _linear_line(record: Record, base: Record, limits: Limits) -> list[str]:
    start = [f"{record.n}x{record.k}", record.dtype, str(record.rows), record.library, record.layer]
    if record.error:
        return [*start, record.error, *[""] * 6]
    time = Spread.of(record.seconds)
    memory = limits.memory_seconds(record.bytes_read)
    compute = limits.compute_seconds(record.operations, record.dtype)
    return [
        *start,
        spread(time, 1e6, 1),
        spread(ratio(record, base), 1, 2) if record is not base and not base.error else "",
        f"{1e-9 * record.bytes_read / time.median:.1f}",
        f"{1e-9 * record.operations / time.median:.0f}",
        f"{1e6 * memory:.1f}",
        f"{1e6 * compute:.1f}",
        f"{limits.seconds(record) / time.median:.0%}",
    ]


def overhead(records: list[Record]) -> str:
    """Microseconds of a call."""
    lines = []
    for record in records:
        start = [record.dtype, record.library, record.layer, record.call]
        base = base_of(records, record)
        if record.error:
            lines.append([*start, record.error, "", ""])
        else:
            share, over = "", ""
            if record is not base:
                share = spread(ratio(record, base), 1, 2)
                pairs = zip(record.seconds, base.seconds, strict=True)
                over = spread(Spread.of([own - other for own, other in pairs]), 1e6, 2)
            lines.append([*start, spread(Spread.of(record.seconds), 1e6, 2), share, over])
    header = ["64 x 64, one row", "library", "layer", "call", "us", "/ torch", "us over torch"]
    return table(header, lines)


def quantize(cases: list[dict[str, Any]], limits: Limits) -> str:
    """GB/s of float weights that went in."""
    lines = []
    for case in cases:
        scheme = case["qtype"] + (" HQQ" if case["optimizer"] else "")
        line = [f"{case['n']}x{case['k']}", case["dtype"], case["library"], scheme]
        if "error" in case:
            lines.append([*line, case["error"], "", ""])
            continue
        size = 1e-9 * case["n"] * case["k"] * (4 if case["dtype"] == "float32" else 2)
        speeds = Spread.of([size / seconds for seconds in case["seconds"]])
        copies = Spread.of([size / seconds for seconds in case["copy_seconds"]])
        lines.append([*line, spread(speeds, 1, 3), spread(copies, 1, 2), f"{limits.copy_gbs:.1f}"])
    header = ["size", "dtype", "library", "scheme", "GB/s", "torch copy GB/s", "copy limit GB/s"]
    return table(header, lines)


def block(records: list[BlockRecord]) -> str:
    """Milliseconds of a forward of the block, and over that of its float twin."""
    lines = []
    for record in records:
        twin = next(r for r in records if (r.scheme, r.rows) == (FLOAT, record.rows))
        pairs = zip(record.seconds, twin.seconds, strict=True)
        share = Spread.of([own / other for own, other in pairs])
        lines.append(
            [
                record.dtype,
                str(record.rows),
                record.scheme,
                spread(Spread.of(record.seconds), 1e3, 2),
                "" if record is twin else spread(share, 1, 2),
            ]
        )
    features = records[0].hidden
    return table([f"block of {features}", "rows", "scheme", "ms", "/ float"], lines)


def startup(seconds: dict[str, list[float]]) -> str:
    """Milliseconds of a process that imports."""
    added = [own - other for own, other in zip(seconds["quanto"], seconds["torch"], strict=True)]
    lines = [[name, spread(Spread.of(values), 1e3, 0)] for name, values in seconds.items()]
    lines.append(["added by quanto", spread(Spread.of(added), 1e3, 0)])
    return table(["import", "ms"], lines)


def spread(value: Spread, unit: float, digits: int) -> str:
    """`median [low-high]` in that unit."""
    median, low, high = (f"{unit * v:.{digits}f}" for v in (value.median, value.low, value.high))
    return f"{median} [{low}-{high}]"
