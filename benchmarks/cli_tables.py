# SPDX-License-Identifier: Apache-2.0
"""What cli.py prints: Markdown."""

import argparse

from .cli_record import CliRecord
from .machine import cpu_name
from .record import Spread
from .tables import spread, table

COPY = "cp and sync"
MIB = 2**20


def facts(args: argparse.Namespace, size: int, largest: int) -> str:
    """The lines that stand above the table."""
    return "\n".join(
        [
            f"Machine: {cpu_name()}, {args.threads} threads.",
            f"Checkpoint: {size / 2**30:.2f} GiB of bfloat16, largest tensor "
            f"{largest / MIB:.0f} MiB; {args.rounds} rounds, in turns.",
            "Median [lowest-highest]; GB/s of input; / copy: speed over that of the copy in the "
            "same round. Parts: seconds of reading, kernels and writing alone, and of both reading "
            "and writing at once, which share a disk; % of parts: the longer of that and the "
            "kernels over the whole, in the same round. CPU s: of all threads; / parts: over that "
            "of kernels and writing alone.",
        ]
    )


def table_of(records: list[CliRecord], size: int, largest: int) -> str:
    """One line per program and source."""
    header = ["input in", "program", "GB/s", "/ copy", "reading, kernels, writing, both s"]
    header += ["% of parts", "CPU s", "/ parts", "RSS MiB", "RssAnon MiB", "/ largest tensor"]
    copies = {record.source: record for record in records if record.name == COPY}
    lines = [_line(record, copies[record.source], size, largest) for record in records]
    return table(header, lines)


def _line(record: CliRecord, copy: CliRecord, size: int, largest: int) -> list[str]:
    speeds = Spread.of([1e-9 * size / seconds for seconds in record.seconds])
    pairs = zip(copy.seconds, record.seconds, strict=True)
    against = Spread.of([theirs / own for theirs, own in pairs])
    return [
        record.source + _warning(record),
        record.name,
        spread(speeds, 1, 2),
        "" if record is copy else spread(against, 1, 2),
        *_parts(record),
        f"{record.peak_rss / MIB:.0f}",
        f"{record.peak_anonymous / MIB:.0f}",
        f"{record.peak_anonymous / largest:.2f}",
    ]


def _parts(record: CliRecord) -> list[str]:
    cpu = spread(Spread.of(record.cpu_seconds), 1, 1)
    if not record.parts:
        return ["", "", cpu, ""]
    medians = [
        Spread.of([getattr(parts, name).seconds for parts in record.parts]).median
        for name in ("reading", "kernels", "writing", "both")
    ]
    pairs = zip(record.parts, record.seconds, strict=True)
    shares = Spread.of([parts.parallel / seconds for parts, seconds in pairs])
    costs = zip(record.parts, record.cpu_seconds, strict=True)
    cost = Spread.of([seconds / parts.cpu_seconds for parts, seconds in costs])
    return [
        ", ".join(f"{median:.2f}" for median in medians),
        spread(shares, 100, 0),
        cpu,
        spread(cost, 1, 2),
    ]


def _warning(record: CliRecord) -> str:
    """Where the cache was not as it should be."""
    wanted = 1.0 if record.source == "cache" else 0.0
    worst = max(record.cached, key=lambda share: abs(share - wanted))
    return "" if abs(worst - wanted) < 0.05 else f" ({worst:.0%} cached)"
