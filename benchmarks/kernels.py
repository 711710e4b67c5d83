# SPDX-License-Identifier: Apache-2.0
"""Holds the kernels against the limits of the machine, measured in the same run.

    python -m benchmarks.kernels [--only linear/bf16] [--repetitions 5] [--threads 1 2]
        [--json FILE] [--chart FILE]

Runs quanto_kernels_bench with its cases in random order and prints tables: the figures to reach,
every pair of activation and weight at every number of rows, and what moves memory. QUANTO_FORCE_ISA
names the kernels. `--json` takes what an earlier run wrote instead of running.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import quanto

from . import kernels_chart, kernels_tables
from .earlier import earlier_results
from .kernels_record import parse
from .machine import cpu_name

BUILD = Path("build/wheel/benchmarks")
MEMORY_MIB = 512


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cpus = len(os.sched_getaffinity(0))
    add = parser.add_argument
    add("--programs", type=Path, default=BUILD, help="folder of quanto_kernels_bench")
    add("--only", default="", help="a regular expression of cases: linear/bf16/int4.*/m1/cold/t2")
    add("--threads", nargs="+", type=int, default=sorted({1, cpus}))
    add("--repetitions", type=int, default=5)
    add("--seconds", type=float, default=0.1, help="of each repetition, at least")
    add(
        "--json",
        type=earlier_results("context", "limits", "benchmarks"),
        metavar="FILE",
        help="results of an earlier run, to print again",
    )
    add("--output", type=Path, default=Path("build/bench-kernels.json"))
    add("--chart", type=Path, default=Path("build/bench-kernels.svg"))
    return parser.parse_args(given)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Google Benchmark's report, with the machine's limits and our version in its context."""
    threads = ",".join(map(str, args.threads))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(args.programs / "quanto_kernels_bench"),
        f"--threads={threads}",
        f"--benchmark_filter={args.only or '.*'}",
        f"--benchmark_repetitions={args.repetitions}",
        f"--benchmark_min_time={args.seconds}",
        "--benchmark_enable_random_interleaving=true",
        "--benchmark_display_aggregates_only=true",
        f"--benchmark_out={args.output}",
        "--benchmark_out_format=json",
    ]
    subprocess.run(command, check=True, stdout=sys.stderr)
    report: dict[str, Any] = json.loads(args.output.read_text())
    report["context"]["quanto"] = quanto.__version__
    report["limits"] = _limits(args.programs / "quanto_probe", max(args.threads))
    args.output.write_text(json.dumps(report, indent=1))
    return report


def _limits(program: Path, threads: int) -> Any:
    command = [str(program), str(MEMORY_MIB), str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def shown_command(given: list[str]) -> str:
    """What prints the same tables."""
    isa = os.environ.get("QUANTO_FORCE_ISA")
    force = f"QUANTO_FORCE_ISA={isa} " if isa else ""
    return f"{force}make bench-kernels" + (f' ARGS="{shlex.join(given)}"' if given else "")


def main(given: list[str] | None = None) -> None:
    """Measures, prints Markdown, draws."""
    given = sys.argv[1:] if given is None else given
    args = arguments(given)
    if args.json is not None:
        report = args.json
    else:
        try:
            report = measure(args)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            sys.exit(f"benchmarks.kernels: {error}")
        report["context"]["command"] = shown_command(given)
        args.output.write_text(json.dumps(report, indent=1))
    context = report["context"]
    records = parse(report)
    if not records:
        sys.exit(f"benchmarks.kernels: expected a case that {args.only} matches, got none")
    print(kernels_tables.facts(context, report["limits"], context["command"]))
    for part in (kernels_tables.goals, kernels_tables.linear, kernels_tables.elementwise):
        print(part(records))
    args.chart.parent.mkdir(parents=True, exist_ok=True)
    kernels_chart.draw(args.chart, records, f"{cpu_name()}, kernels {context['isa']}")
    print(f"\nWritten: {args.chart}", file=sys.stderr)


if __name__ == "__main__":
    main()
