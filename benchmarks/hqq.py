# SPDX-License-Identifier: Apache-2.0
"""HQQ's search for the scales and shifts of one weight, beside the original's.

Each library stops where its own error stops falling, of bfloat16 weights the original after a few
iterations, since its mean is of that type. So the search is timed as it comes, and with a single
iteration too: the same work for both.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .client import Worker, WorkerDied
from .record import Spread
from .tables import spread, table

DEVIATIONS = (0.02, 1.0)
"""Of normal weights: errors of the first are all shrunk to 0, most of those of the second not."""
ITERATIONS = (20, 1)


@dataclass
class HqqRecord:
    """Searches by one library, one in every round."""

    library: str
    dtype: str
    deviation: float
    iterations: int
    n: int
    k: int
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Seconds, of all threads."""
    error: float = 0.0
    """Mean |w - dequantized|."""
    failure: str = ""

    def measure(self, worker: Worker) -> None:
        """One more round, unless an earlier one failed."""
        if self.failure:
            return
        try:
            reply = worker.ask(
                "hqq",
                dtype=self.dtype,
                deviation=self.deviation,
                iterations=self.iterations,
                n=self.n,
                k=self.k,
            )
        except WorkerDied as death:
            reply = {"error": str(death)}
        if "error" in reply:
            self.failure = reply["error"]
            return
        self.wall.append(reply["wall"])
        self.cpu.append(reply["cpu"])
        self.error = reply["mean_error"]

    def same_search(self, other: "HqqRecord") -> bool:
        """Whether both are of the same weight and iterations."""
        asked = (self.dtype, self.deviation, self.iterations)
        return asked == (other.dtype, other.deviation, other.iterations)


def measure(
    workers: list[Worker], dtypes: list[str], n: int, k: int, rounds: int
) -> Iterator[list[HqqRecord]]:
    """The records, complete, of each dtype."""
    for dtype in dtypes:
        records = [
            HqqRecord(worker.name, dtype, deviation, iterations, n, k)
            for deviation in DEVIATIONS
            for iterations in ITERATIONS
            for worker in workers
        ]
        named = {worker.name: worker for worker in workers}
        for _ in range(rounds):
            for record in records:
                record.measure(named[record.library])
        yield records


def tables(records: list[HqqRecord]) -> str:
    """One line per search; ratios of neighbouring runs are over those of the first library."""
    header = ["int4, groups of 128", "dtype", "deviation", "iterations", "library"]
    header += ["mean error", "ms", "CPU ms", "time / ours", "CPU / ours"]
    return table(header, [_line(record, records) for record in records])


def _line(record: HqqRecord, records: list[HqqRecord]) -> list[str]:
    cells = [f"{record.n}x{record.k}", record.dtype, f"{record.deviation:g}"]
    cells += [f"at most {record.iterations}", record.library]
    if record.failure:
        return [*cells, record.failure, *[""] * 4]
    cells.append(f"{record.error:.4g}")
    cells += [spread(Spread.of(seconds), 1e3, 0) for seconds in (record.wall, record.cpu)]
    ours = next(other for other in records if other.same_search(record))
    if ours is record or ours.failure:
        return [*cells, "", ""]
    for theirs, own in ((record.wall, ours.wall), (record.cpu, ours.cpu)):
        shares = [a / b for a, b in zip(theirs, own, strict=True)]
        cells.append(spread(Spread.of(shares), 1, 1))
    return cells
