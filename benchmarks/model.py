# SPDX-License-Identifier: Apache-2.0
"""Benchmarks layers and a language model beside torch and other quantization libraries.

    python -m benchmarks.model [--peers ENVIRONMENT] [--sections linear lm] [--malloc stock raised]
        [--libraries torch quanto torchao] [--dtypes float32 bfloat16]

`linear`: 4096 x 4096 at several numbers of rows, over that of torch's float Linear; `lm`: prefill
and decoding of SmolLM2-135M (--model tiny or DIRECTORY: another), over the float model. Every
library runs in a process of its own, in turns with the others; ours and torch in this environment,
the rest in that of --peers, and what is not installed there is named. All of it twice: with glibc's
own thresholds of malloc, and with raised ones, which spare libraries that build a dense weight at
every call the page faults.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from examples.demo import model as models

from . import machine, model_chart, model_record, tables
from .case import Case, Layer
from .client import Worker, WorkerDied
from .earlier import earlier_results
from .language_model import FLOAT, NO_LINEAR, WITH_HEAD
from .model_record import ModelRecord
from .peers import SCHEMES
from .record import Record

HERE = ("torch", "quanto")
HEADS = ("qint8", "qint4")
"""Schemes of ours that are measured with a quantized head too."""
SECTIONS = ("linear", "lm")
MALLOC = {"stock": False, "raised": True}
PROBE = Path("build/wheel/benchmarks/quanto_probe")
Part = tuple[str, str, list[Any], machine.Limits]
"""Section, malloc thresholds, and the records of one dtype."""


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--probe", type=Path, default=PROBE, help="the program quanto_probe")
    add("--peers", type=Path, help="a virtual environment with the peers and transformers")
    add("--libraries", nargs="+", default=list(SCHEMES), choices=list(SCHEMES))
    add("--sections", nargs="+", default=SECTIONS, choices=SECTIONS)
    add("--malloc", nargs="+", default=list(MALLOC), choices=list(MALLOC))
    add("--dtypes", nargs="+", default=["float32", "bfloat16"])
    add("--size", type=int, default=4096, help="features of the layer")
    add("--rows", nargs="+", type=int, default=[1, 16, 128])
    add("--model", default="smollm2", help="smollm2, tiny or a directory of a causal LM")
    add("--prompt", type=int, default=128, help="tokens of each prefill")
    add("--tokens", type=int, default=16, help="tokens of each decoding")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=0.05, help="of each measurement of a layer")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add(
        "--json",
        type=earlier_results("facts", "limits", "parts"),
        metavar="FILE",
        help="results of an earlier run, to print again",
    )
    add("--output", type=Path, default=Path("build/bench-model.json"))
    add("--chart", type=Path, default=Path("build/bench-model.svg"), help="of the first --malloc")
    return parser.parse_args(given)


def python_of(library: str, peers: Path | None) -> Path | None:
    """The interpreter that can import it; None, and a line that says so, if there is none."""
    if library in HERE:
        return Path(sys.executable)
    if peers is not None:
        python = peers / "bin" / "python"
        found = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec('{library}'))"
        if subprocess.run([python, "-c", found], check=False, stderr=subprocess.DEVNULL).returncode:
            print(f"{library}: not installed in {peers}, not measured.")
            return None
        return python
    print(f"{library}: no --peers, not measured.")
    return None


def start_workers(args: argparse.Namespace, pythons: dict[str, Path], keep: bool) -> list[Worker]:
    """One for each library, which is its name; without those that do not start, which are named."""
    workers = []
    for library, python in pythons.items():
        try:
            workers.append(Worker(library, python, library, args.threads, keep))
        except WorkerDied as death:
            print(f"{death}, not measured.", flush=True)
    return workers


def linear_section(
    args: argparse.Namespace, workers: list[Worker], working_set: int
) -> Iterator[list[Record]]:
    """The records of each dtype."""
    variants = [(rows, "module") for rows in args.rows]
    for dtype in args.dtypes:
        case = Case(args.size, args.size, working_set)
        for worker in workers:
            for scheme in (None, *SCHEMES[worker.name]):
                case.add(worker, Layer(scheme, dtype), variants)
        total = args.rounds * len(case.records())
        for _ in tqdm(case.measure(args.rounds, args.seconds), f"linear {dtype}", total):
            pass
        yield case.records()


def models_of(library: str) -> list[str]:
    """Schemes of language models."""
    extra = {"torch": (FLOAT, NO_LINEAR), "quanto": tuple(name + WITH_HEAD for name in HEADS)}
    return [*extra.get(library, ()), *SCHEMES[library]]


def lm_section(args: argparse.Namespace, workers: list[Worker]) -> Iterator[list[ModelRecord]]:
    """The records of each dtype."""
    source = models.obtain(args.model, models.REPOSITORY / "demo")
    for dtype in args.dtypes:
        turns = [
            (worker, ModelRecord(worker.name, scheme, dtype))
            for worker in workers
            for scheme in models_of(worker.name)
        ]
        done = model_record.measure(turns, str(source.path), args.rounds, args.prompt, args.tokens)
        for _ in tqdm(done, f"{source.name} {dtype}", (args.rounds + 1) * len(turns)):
            pass
        yield [record for _, record in turns]


def facts(
    args: argparse.Namespace, given: list[str], workers: list[Worker], limits: machine.Limits
) -> str:
    """The lines that stand above the tables."""
    command = "make bench-model" + (f' ARGS="{shlex.join(given)}"' if given else "")
    versions = "; ".join(
        f"{w.name} {w.facts['version']} on torch {w.facts['torch']}" for w in workers
    )
    isa = next((w.facts["isa"] for w in workers if w.facts["isa"]), "none")
    computes = ", ".join(f"{c['instruction']} {c['gops']:.0f}" for c in limits.computes)
    return "\n".join(
        [
            f"`{command}`",
            "",
            f"Machine: {machine.cpu_name()}, {args.threads} threads, kernels {isa}.",
            f"Limits: read {limits.read_gbs:.1f} GB/s; 10^9 operations/s: {computes}.",
            f"Libraries: {versions}.",
            f"Median [lowest-highest] of {args.rounds} rounds, all in turns. Layers rotate over "
            "copies that no cache holds; / torch: over torch's Linear of the same dtype in the "
            "same process and round.",
            f"Language model: {args.prompt} tokens of prompt, {args.tokens} decoded; / float: over "
            "torch's float model of the same dtype in the same round. allowed: the ratio of the "
            f"models' bytes x {model_record.MARGIN}, and what is not Linear.",
        ]
    )


def measure(args: argparse.Namespace, given: list[str]) -> Iterator[Part]:
    """Every part as it comes, and the file at the end."""
    if not args.probe.is_file():
        sys.exit(f"{args.probe}: expected a program that was built, got none: run make build")
    wanted = {library: python_of(library, args.peers) for library in args.libraries}
    pythons = {library: python for library, python in wanted.items() if python}
    count = sum(1 + len(SCHEMES[library]) for library in pythons)
    working_set = machine.working_set_bytes(count)
    limits = machine.probe(args.probe, working_set, args.threads)
    results: dict[str, Any] = {"limits": asdict(limits), "parts": []}
    for malloc in args.malloc:
        workers = start_workers(args, pythons, MALLOC[malloc])
        if malloc == args.malloc[0]:
            results["facts"] = facts(args, given, workers, limits)
            print(results["facts"], flush=True)
        for section in args.sections:
            found: Iterator[Any] = (
                linear_section(args, workers, working_set)
                if section == "linear"
                else lm_section(args, workers)
            )
            for records in found:
                results["parts"].append([section, malloc, [asdict(record) for record in records]])
                yield section, malloc, records, limits
        for worker in workers:
            worker.close()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(results, indent=1))
    print(f"\nWritten: {args.output}", file=sys.stderr)


def earlier(results: dict[str, Any]) -> Iterator[Part]:
    """The same of an earlier run."""
    print(results["facts"])
    for section, malloc, found in results["parts"]:
        kind = Record if section == "linear" else ModelRecord
        records: Any = [kind(**record) for record in found]
        yield section, malloc, records, machine.Limits(**results["limits"])


def main(given: list[str] | None = None) -> None:
    """Prints the tables as they come and draws the chart."""
    given = sys.argv[1:] if given is None else given
    args = arguments(given)
    drawn: dict[str, list[Any]] = {section: [] for section in SECTIONS}
    first = ""
    for section, malloc, records, limits in (
        earlier(args.json) if args.json is not None else measure(args, given)
    ):
        text = (
            tables.layers(records, limits) if section == "linear" else model_record.tables(records)
        )
        print(f"\n{section}, malloc thresholds {malloc}:\n{text}", flush=True)
        first = first or malloc
        if malloc == first:
            drawn[section] += records
    title = f"{machine.cpu_name()}, {args.threads} threads, malloc thresholds {first}"
    args.chart.parent.mkdir(parents=True, exist_ok=True)
    model_chart.draw(args.chart, drawn["linear"], drawn["lm"], title)
    print(f"Written: {args.chart}", file=sys.stderr)


if __name__ == "__main__":
    main()
