"""Benchmarks quantized linear layers beside torch's own and those of optimum-quanto.

    python -m benchmarks.run [--peers ENVIRONMENT] [--sizes 1024 4096]
        [--rows 1 16 128 512] [--seconds 0.1]

Sections: `linear` (time of a layer, per number of rows), `quantize` (GB/s of float weights, beside
a memory copy), `hqq` (its search beside the original's), `overhead` (one call on a 64 x 64 layer),
`block` (a transformer block beside its float twin) and `startup` (importing the package). Every
library runs in a process of its own, in turns with the others; ratios are of neighbouring runs.
Writes a JSON file too.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from . import block, hqq, machine, startup, tables
from .case import Case, Layer
from .client import Worker, WorkerDied
from .record import Record

QTYPES = ("qint8", "qfloat8", "qint4", "qint2")
DTYPES = ("float32", "bfloat16")
SECTIONS = ("linear", "quantize", "hqq", "overhead", "block", "startup")
PROBE = Path("build/wheel/benchmarks/quanto_probe")
SMALL = 64
"""Features of the layer whose calls are mostly overhead."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--probe", type=Path, default=PROBE, help="the program quanto_probe")
    add("--peers", type=Path, help="a virtual environment with torch and optimum-quanto")
    add("--sections", nargs="+", default=SECTIONS, choices=SECTIONS)
    add("--sizes", nargs="+", default=["1024", "4096"], help="features, or OUTxIN")
    add("--rows", nargs="+", type=int, default=[1, 16, 128, 512])
    add("--qtypes", nargs="+", default=QTYPES, choices=QTYPES)
    add("--dtypes", nargs="+", default=DTYPES, choices=DTYPES)
    add("--hidden", type=int, default=1024, help="features of the transformer block")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=0.1, help="of each measurement")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--stock-malloc", action="store_true", help="let glibc map and unmap big temporaries")
    add("--output", type=Path, default=Path("build/bench.json"))
    return parser.parse_args()


def start_workers(args: argparse.Namespace) -> list[Worker]:
    """Ours first, then the peers'."""
    keep = not args.stock_malloc
    workers = [Worker("quanto", Path(sys.executable), "quanto", args.threads, keep)]
    if args.peers:
        python = args.peers / "bin" / "python"
        workers.append(Worker("optimum-quanto", python, "optimum.quanto", args.threads, keep))
    else:
        print("No --peers: optimum-quanto is not measured.")
    return workers


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
    variants = [(rows, "module") for rows in args.rows]
    for size in args.sizes:
        for dtype in args.dtypes:
            case = Case(*features(size), working_set)
            for worker in workers:
                for layer in [Layer(None, d) for d in dict.fromkeys([dtype, "float32"])]:
                    case.add(worker, layer, variants)
                for qtype in args.qtypes:
                    case.add(worker, Layer(qtype, dtype), variants)
            yield measured(case, args, f"linear {size} {dtype}")


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
    rows = [count for count in args.rows if count > 1]
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


def main() -> None:
    """Prints the tables as they come and writes the file at the end."""
    args = arguments()
    workers = start_workers(args)
    layers = len(workers) * (len(args.qtypes) + 2)
    working_set = machine.working_set_bytes(layers)
    limits = machine.probe(args.probe, working_set, args.threads)
    facts = tables.facts(args, workers, limits, working_set)
    print("\n".join(facts), flush=True)
    results: dict[str, Any] = {"facts": facts, "limits": asdict(limits)}
    if "linear" in args.sections:
        results["linear"] = []
        for records in linear_section(args, workers, working_set):
            print(tables.linear(records, limits), flush=True)
            results["linear"] += map(asdict, records)
    if "quantize" in args.sections:
        results["quantize"] = quantize_section(args, workers)
        print(tables.quantize(results["quantize"], limits), flush=True)
    if "hqq" in args.sections:
        results["hqq"] = []
        size = features(args.sizes[-1])
        for searches in hqq.measure(workers, args.dtypes, *size, args.rounds):
            print(hqq.tables(searches), flush=True)
            results["hqq"] += map(asdict, searches)
    if "overhead" in args.sections:
        results["overhead"] = []
        for records in overhead_section(args, workers):
            print(tables.overhead(records), flush=True)
            results["overhead"] += map(asdict, records)
    if "block" in args.sections:
        torch.set_num_threads(args.threads)
        results["block"] = []
        for block_records in block_section(args):
            print(tables.block(block_records), flush=True)
            results["block"] += map(asdict, block_records)
    if "startup" in args.sections:
        results["startup"] = startup.measure(args.rounds)
        print(tables.startup(results["startup"]), flush=True)
    for worker in workers:
        worker.close()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(results, indent=2))
    print(f"Written: {args.output}")


if __name__ == "__main__":
    main()
