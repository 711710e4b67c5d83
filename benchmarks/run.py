"""Benchmarks quantized linear layers beside torch's own and those of optimum-quanto.

    python -m benchmarks.run [--peers ENVIRONMENT] [--sizes 1024 4096]
        [--rows 1 16 128 512] [--seconds 0.1]

Sections: `linear` (time of a layer, per number of rows), `grid` (every pair of activation and
weight at every number of rows, over torch's Linear), `quantize` (GB/s of float weights, beside a
memory copy), `hqq` (its search beside the original's), `overhead` (one call on a 64 x 64 layer),
`block` (a transformer block beside its float twin) and `startup` (importing the package). Every
library runs in a process of its own, in turns with the others; ratios are of neighbouring runs.
Writes a JSON file too.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from . import grid, hqq, machine, startup, tables
from .client import Worker
from .sections import (
    block_section,
    features,
    grid_section,
    linear_section,
    overhead_section,
    quantize_section,
)

QTYPES = ("qint8", "qfloat8", "qint4", "qint2")
DTYPES = ("float32", "bfloat16")
SECTIONS = ("linear", "grid", "quantize", "hqq", "overhead", "block", "startup")
OURS_ALONE = {"grid", "block", "startup"}
"""Sections that need no peers."""
PROBE = Path("build/wheel/benchmarks/quanto_probe")


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
    add("--rows", nargs="+", type=int, help="default: 1 16 128 512; of the grid, more")
    add("--qtypes", nargs="+", default=QTYPES, choices=QTYPES)
    add("--dtypes", nargs="+", default=DTYPES, choices=DTYPES)
    every = list(grid.ACTIVATIONS)
    add("--activations", nargs="+", default=every, choices=every, help="of the grid")
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
    if OURS_ALONE.issuperset(args.sections):
        return workers
    if args.peers:
        python = args.peers / "bin" / "python"
        workers.append(Worker("optimum-quanto", python, "optimum.quanto", args.threads, keep))
    else:
        print("No --peers: optimum-quanto is not measured.")
    return workers


def main() -> None:
    """Prints the tables as they come and writes the file at the end."""
    args = arguments()
    workers = start_workers(args)
    layers = max(len(workers) * (len(args.qtypes) + 2), len(grid.WEIGHTS) + 1)
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
    if "grid" in args.sections:
        results["grid"], found = [], []
        for name, records in grid_section(args, workers[0], working_set):
            print(grid.tables(name, records), flush=True)
            found += tables.over_torch(records)
            results["grid"] += map(asdict, records)
        print(grid.goals(found, workers[0].facts["isa"]), flush=True)
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
