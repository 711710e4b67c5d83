"""Layers of one size, built in every worker and measured in turns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .client import Worker, WorkerDied
from .record import Record


@dataclass(frozen=True)
class Layer:
    """What to build: torch's own Linear of `dtype`, or one quantized to `qtype`."""

    qtype: str | None
    dtype: str


class Case:
    """All layers of one size, in every worker."""

    def __init__(self, n: int, k: int, working_set: int) -> None:
        self._n, self._k = n, k
        self._working_set = working_set
        self._groups: list[tuple[Worker, Layer, list[Record]]] = []

    def add(self, worker: Worker, layer: Layer, variants: list[tuple[int, str]]) -> None:
        """Builds `layer` in `worker`, to be measured at each (rows, call) of `variants`."""
        records = [
            Record(worker.name, layer.qtype or "torch", layer.dtype, self._n, self._k, rows, call)
            for rows, call in variants
        ]
        try:
            self._build(worker, layer, records)
        except WorkerDied as death:
            for record in records:
                record.error = str(death)
            for other, known, built in self._groups:
                if other is worker and not built[0].error:
                    self._build(worker, known, built)
        self._groups.append((worker, layer, records))

    def measure(self, rounds: int, seconds: float) -> Iterator[Record]:
        """Yields each record after each of its measurements; then forgets the layers.

        Layers take turns at one number of rows after the other: what is compared is neighbours.
        """
        turns = [(worker, record) for worker, _, records in self._groups for record in records]
        turns.sort(key=lambda turn: turn[1].rows)
        for _ in range(rounds):
            for worker, record in turns:
                if not record.error:
                    self._measure(worker, record, seconds)
                yield record
        for worker in {id(worker): worker for worker, _, _ in self._groups}.values():
            worker.ask("drop")

    def records(self) -> list[Record]:
        """In the order in which they were added."""
        return [record for _, _, records in self._groups for record in records]

    def _measure(self, worker: Worker, record: Record, seconds: float) -> None:
        try:
            record.seconds.append(worker.measure(**_variant(record), seconds=seconds))
        except WorkerDied as death:  # and with it everything that it had built
            for other, _, records in self._groups:
                for lost in records if other is worker else []:
                    lost.error = lost.error or str(death)

    def _build(self, worker: Worker, layer: Layer, records: list[Record]) -> None:
        built = worker.ask(
            "build",
            key=records[0].key,
            qtype=layer.qtype,
            dtype=layer.dtype,
            n=self._n,
            k=self._k,
            working_set=self._working_set,
        )
        for record in records:
            record.bytes, record.copies = built.get("bytes", 0), built.get("copies", 0)
            record.error = built.get("error", "")
            if not record.error:
                record.error = worker.ask("prepare", **_variant(record)).get("error", "")


def _variant(record: Record) -> dict[str, Any]:
    return {"key": record.key, "rows": record.rows, "call": record.call}
