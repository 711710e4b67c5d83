# SPDX-License-Identifier: Apache-2.0
"""Profiles one call of a 64 x 64 layer: CPU time by the library that it is spent in.

    python -m benchmarks.overhead [--calls 100000] [--qtype qint8] [--dtype float32]

Needs perf, which samples the CPU time outside of the kernel; a process that makes no call is
subtracted.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

from . import peers, tables
from .worker import CALLS

SIZE = 64
WAYS = (
    ("torch", "functional"),
    ("torch", "module"),
    ("quanto", "operator"),
    ("quanto", "functional"),
    ("quanto", "module"),
)
PARTS = ("python", "torch_python", "torch_cpu", "c10", "quanto", "c.")
"""Beginnings of the names of files, after `lib`; what is in no such file is the rest."""


def arguments() -> argparse.Namespace:
    """The command line; `library` and `call` are for the processes that are profiled."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--calls", type=int, default=100_000)
    add("--qtype", default="qint8")
    add("--dtype", default="float32")
    add("--library", choices=("torch", "quanto"), help=argparse.SUPPRESS)
    add("--call", choices=list(CALLS), help=argparse.SUPPRESS)
    return parser.parse_args()


@torch.no_grad()
def work(args: argparse.Namespace) -> None:
    """All that a profiled process does."""
    torch.set_num_threads(1)
    dtype = getattr(torch, args.dtype)
    model = torch.nn.Sequential(torch.nn.Linear(SIZE, SIZE, bias=False, dtype=dtype)).eval()
    model.requires_grad_(False)
    if args.library == "quanto":
        peers.quantize("quanto", model, args.qtype)
    call = CALLS[args.call](model[0], torch.randn(1, SIZE, dtype=dtype))
    for _ in range(args.calls):
        call()


def profile(args: argparse.Namespace, library: str, call: str, calls: int) -> Counter[str]:
    """Nanoseconds of a process that makes so many calls, by part."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        record = ["perf", "record", "-q", "-e", "task-clock:u", "-o", data]
        child = [sys.executable, "-m", "benchmarks.overhead", "--calls", str(calls)]
        options = ["--qtype", args.qtype, "--dtype", args.dtype, "--library", library]
        subprocess.run([*record, *child, *options, "--call", call], check=True)
        report = ["perf", "report", "-q", "--stdio", "-i", data, "-s", "dso", "-F", "period,dso"]
        done = subprocess.run(report, check=True, capture_output=True, text=True)
    return parse(done.stdout)


def parse(report: str) -> Counter[str]:
    """Of lines `1234  libtorch_cpu.so`."""
    found: Counter[str] = Counter()
    for line in report.splitlines():
        words = line.split(maxsplit=1)
        if len(words) == 2 and words[0].isdigit():
            part = next((p for p in PARTS if words[1].removeprefix("lib").startswith(p)), "rest")
            found[part] += int(words[0])
    return found


def line(args: argparse.Namespace, library: str, call: str) -> list[str]:
    """Nanoseconds of one call."""
    idle = profile(args, library, call, 0)
    busy = profile(args, library, call, args.calls)
    parts = [(busy[part] - idle[part]) / args.calls for part in (*PARTS, "rest")]
    layer = args.qtype if library == "quanto" else args.dtype
    return [library, layer, call, f"{sum(parts):.0f}", *(f"{max(p, 0):.0f}" for p in parts)]


def main() -> None:
    """Prints a table, or is profiled."""
    args = arguments()
    if args.library:
        work(args)
        return
    header = ["library", "layer", "call", "ns"]
    header += [*(part.rstrip(".") for part in PARTS), "rest"]
    try:
        lines = [line(args, library, call) for library, call in WAYS]
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        sys.exit(f"benchmarks.overhead: {error}")
    print(tables.table(header, lines))


if __name__ == "__main__":
    main()
