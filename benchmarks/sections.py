# SPDX-License-Identifier: Apache-2.0
"""What run.py measures, section by section."""

import argparse
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from . import block, grid
from .case import Case, Layer
from .client import Worker, WorkerDied
from .record import Record

ROWS = (1, 16, 128, 512)
SMALL = 64
"""Features of the layer whose calls are mostly overhead."""


def features(size: str) -> tuple[int, int]:
    """(out_features, in_features) of `1024` or `4096x1024`."""
    n, _, k = size.partition("x")
    return int(n), int(k or n)


def measured(case: Case, args: argparse.Namespace, what: str) -> list[Record]:
    """The records of `case`, with a progress bar."""
    total = args.rounds * len(case.records())
    with tqdm(total=total, desc=what, unit="run", dynamic_ncols=True) as bar:
        for _ in case.measure(args.rounds, args.seconds):
            bar.update()
    return case.records()


def linear_section(
    args: argparse.Namespace, workers: list[Worker], working_set: int
) -> Iterator[list[Record]]:
    """The records of each size and activation dtype."""
    variants = [(rows, "module") for rows in args.rows or ROWS]
    for size in args.sizes:
        for dtype in args.dtypes:
            case = Case(*features(size), working_set)
            for worker in workers:
                for layer in [Layer(None, d) for d in dict.fromkeys([dtype, "float32"])]:
                    case.add(worker, layer, variants)
                for qtype in args.qtypes:
                    case.add(worker, Layer(qtype, dtype), variants)
            yield measured(case, args, f"linear {size} {dtype}")


def grid_section(
    args: argparse.Namespace, worker: Worker, working_set: int
) -> Iterator[tuple[str, list[Record]]]:
    """The name and records of each size and activation."""
    sizes = [features(size) for size in args.sizes]
    rows = tuple(args.rows or grid.ROWS)
    for name, case in grid.cases(worker, sizes, args.activations, rows, working_set):
        yield name, measured(case, args, name)


def overhead_section(args: argparse.Namespace, workers: list[Worker]) -> Iterator[list[Record]]:
    """The records of each activation dtype."""
    for dtype in args.dtypes:
        case = Case(SMALL, SMALL, working_set=1)
        for worker in workers:
            case.add(worker, Layer(None, dtype), [(1, "module"), (1, "functional")])
            calls = ["module", "functional"] + ["operator"] * (worker is workers[0])
            for qtype in args.qtypes:
                case.add(worker, Layer(qtype, dtype), [(1, call) for call in calls])
        yield measured(case, args, f"overhead {dtype}")


def quantize_section(args: argparse.Namespace, workers: list[Worker]) -> list[dict[str, Any]]:
    """Seconds to quantize a weight of the last size, and to copy it, in every round."""
    n, k = features(args.sizes[-1])
    cases: list[dict[str, Any]] = [
        {
            "library": worker.name,
            "qtype": qtype,
            "optimizer": optimizer,
            "dtype": dtype,
            "n": n,
            "k": k,
        }
        for worker in workers
        for dtype in args.dtypes
        for qtype, optimizer in [(q, None) for q in args.qtypes] + [("qint4", "HqqOptimizer")]
    ]
    named = {worker.name: worker for worker in workers}
    for _ in tqdm(range(args.rounds), desc="quantize", unit="round", dynamic_ncols=True):
        for case in cases:
            if "error" not in case:
                _quantize_once(named[case["library"]], case)
    return cases


def block_section(args: argparse.Namespace) -> Iterator[list[block.BlockRecord]]:
    """The records of each activation dtype."""
    rows = [count for count in args.rows or ROWS if count > 1]
    for dtype in args.dtypes:
        records: dict[int, block.BlockRecord] = {}
        total = args.rounds * len(rows) * (len(block.SCHEMES) + 1)
        with tqdm(total=total, desc=f"block {dtype}", unit="run", dynamic_ncols=True) as bar:
            for record in block.measure(args.hidden, dtype, rows, args.rounds):
                records[id(record)] = record
                bar.update()
        yield list(records.values())


def _quantize_once(worker: Worker, case: dict[str, Any]) -> None:
    asked = {key: case[key] for key in ("qtype", "optimizer", "dtype", "n", "k")}
    try:
        reply = worker.ask("quantize", **asked)
    except WorkerDied as death:
        reply = {"error": str(death)}
    if "error" in reply:
        case["error"] = reply["error"]
        return
    case.setdefault("seconds", []).append(reply["seconds"])
    case.setdefault("copy_seconds", []).append(reply["copy"])
