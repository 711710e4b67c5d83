# SPDX-License-Identifier: Apache-2.0
"""What model.py measures of a language model, in turns, and the table of it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .client import SETTLE_SECONDS, Worker, WorkerDied
from .language_model import FLOAT, NO_LINEAR
from .record import Spread
from .tables import spread, table

MARGIN = 1.1
"""Over the ratio of the models' bytes, of the time of decoding that is Linear."""


@dataclass
class ModelRecord:
    """One model of a library; a value per round, or `error`."""

    library: str
    scheme: str
    dtype: str
    bytes: int = 0
    error: str = ""
    prefill: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Names the model in its worker."""
        return f"{self.scheme} {self.dtype}"


Turn = tuple[Worker, ModelRecord]


def measure(
    turns: list[Turn], path: str, rounds: int, prompt: int, tokens: int
) -> Iterator[ModelRecord]:
    """Loads all models, then runs them in turns; yields a record when it is loaded or ran."""
    for turn in turns:
        record = turn[1]
        asked = {"path": path, "dtype": record.dtype, "scheme": record.scheme}
        record.bytes = _ask(turns, turn, "load", asked).get("bytes", 0)
        yield record
    for _ in range(rounds):
        for turn in turns:
            reply = _ask(turns, turn, "generate", {"prompt": prompt, "tokens": tokens})
            for part in reply:
                getattr(turn[1], part).append(reply[part])
            yield turn[1]
    for worker in {id(worker): worker for worker, _ in turns}.values():
        worker.ask("drop")


def _ask(turns: list[Turn], turn: Turn, do: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The reply; nothing from a model that has failed, now or before."""
    worker, record = turn
    if record.error:
        return {}
    time.sleep(SETTLE_SECONDS)
    try:
        reply = worker.ask(do, key=record.key, **asked)
    except WorkerDied as death:  # and with it every model that it held
        reply = {"error": str(death)}
        for other, lost in turns:
            if other is worker:
                lost.error = lost.error or str(death)
    record.error = record.error or reply.pop("error", "")
    return {} if record.error else reply


def over_float(records: list[ModelRecord], part: str) -> list[tuple[ModelRecord, Spread]]:
    """Every model that ran, and its time over that of the float model in the same round."""
    pairs = ((record, _float_twin(record, records, FLOAT)) for record in records)
    return [
        (own, _ratio(getattr(own, part), getattr(twin, part)))
        for own, twin in pairs
        if twin is not None and own is not twin and not own.error
    ]


def tables(records: list[ModelRecord]) -> str:
    """One line per model, beside torch's float model of the same dtype in the same round."""
    header = ["dtype", "library", "scheme", "MB", "prefill ms", "/ float"]
    header += ["ms a token", "/ float", "allowed"]
    return table(header, [_line(record, records) for record in records])


def _line(record: ModelRecord, records: list[ModelRecord]) -> list[str]:
    start = [record.dtype, record.library, record.scheme]
    if record.error:
        return [*start, record.error, *[""] * 5]
    base = _float_twin(record, records, FLOAT)
    cells = [f"{1e-6 * record.bytes:.0f}"]
    for part in ("prefill", "decode"):
        own = getattr(record, part)
        cells.append(spread(Spread.of(own), 1e3, 1))
        share = "" if base in (None, record) else spread(_ratio(own, getattr(base, part)), 1, 2)
        cells.append(share)
    return [*start, *cells, _allowed(record, records)]


def _float_twin(
    record: ModelRecord, records: list[ModelRecord], scheme: str
) -> ModelRecord | None:  # fmt: skip
    found = (r for r in records if (r.dtype, r.scheme) == (record.dtype, scheme) and not r.error)
    return next(found, None)


def _ratio(own: list[float], base: list[float]) -> Spread:
    return Spread.of([mine / other for mine, other in zip(own, base, strict=True)])


def _allowed(record: ModelRecord, records: list[ModelRecord]) -> str:
    """The ratio of bytes times MARGIN, and what is not Linear, over the time of the float model."""
    base = _float_twin(record, records, FLOAT)
    rest = _float_twin(record, records, NO_LINEAR)
    if record.library != "quanto" or base is None or rest is None:
        return ""
    share = _ratio(rest.decode, base.decode).median
    return f"{MARGIN * record.bytes / base.bytes + share:.2f}"
