# SPDX-License-Identifier: Apache-2.0
"""Benchmarks `quanto quantize` beside a plain copy of the files, its own parts and other libraries.

    python -m benchmarks.cli [--size 4096] [--rounds 3] [--schemes int8 int4 int4-hqq]
        [--peers ENVIRONMENT]

Generates a checkpoint of `--size` MiB, then, in turns: copies it with cp and sync, quantizes it
with the command line and with the peers that are installed, and measures the parts of the command
line alone: reading, kernels, writing, and reading beside writing. First with the input in the page
cache, then with the cache dropped before each run. Ratios are of runs of the same round.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from . import cli_checkpoint, cli_parts, cli_tables
from .cli_process import run
from .cli_record import SCHEMES, CliRecord, Parts

SOURCES = ("cache", "disk")
BUILD = Path("build/wheel")
PEERS = ("optimum.quanto", "torchao")
PEER_SCHEMES = ("int8", "int4")


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.cli",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quanto", type=Path, default=BUILD / "cpp/quanto/cli/quanto", help="the command")
    add("--kernels", type=Path, default=BUILD / "benchmarks/quanto_cli_kernels")
    add("--peers", type=Path, help="a virtual environment with optimum-quanto or torchao")
    add("--size", type=int, default=4096, help="MiB of the checkpoint")
    add("--folder", type=Path, help="where to write, on the disk to measure; default: build")
    add("--rounds", type=int, default=3)
    add("--schemes", nargs="+", default=["int8", "int4"], choices=list(SCHEMES))
    add("--sources", nargs="+", default=SOURCES, choices=SOURCES)
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--output", type=Path, default=Path("build/bench-cli.json"))
    return parser.parse_args(given)


def peers_in(environment: Path | None) -> list[str]:
    """Those that can be imported there; says which cannot."""
    found = []
    for package in PEERS:
        if environment is not None:
            command = [str(environment / "bin/python"), "-c", f"import {package}"]
            if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                found.append(package)
                continue
        print(f"{package}: not installed, not measured.")
    present = shutil.which("llama-quantize") is not None
    why = "llama-quantize reads GGUF only" if present else "no llama-quantize on the PATH"
    print(f"llama.cpp: {why}, not measured.")
    return found


def commands(args: argparse.Namespace, source: Path, out: Path) -> dict[str, list[str]]:
    """What is run in turns, by name."""
    copy = 'cp -r "$1" "$2" && sync "$2"/*'
    found = {cli_tables.COPY: ["sh", "-c", copy, "sh", str(source), str(out)]}
    for scheme in args.schemes:
        options = [*SCHEMES[scheme].options, "--threads", str(args.threads)]
        command = [str(args.quanto), "quantize", str(source), str(out)]
        found[f"quanto {scheme}"] = [*command, *options]
    for package in peers_in(args.peers):
        start = [str(args.peers / "bin/python"), "-m", "benchmarks.cli_peer", package]
        for scheme in PEER_SCHEMES:
            found[f"{package} {scheme}"] = [
                *start, scheme, str(args.threads), str(source), str(out)
            ]  # fmt: skip
    return found


def prepare(source: str, folder: Path) -> float:
    """Fills or drops the cache; the share of the input that is in it then."""
    os.sync()
    if source == "cache":
        cli_parts.to_cache(folder)
    else:
        cli_parts.drop(folder)
    return cli_parts.cached_share(folder)


def parts_of(
    args: argparse.Namespace, source: str, folder: Path, out: Path, scheme: str, sizes: list[int]
) -> Parts:
    """The parts of a scheme whose files have these sizes."""
    prepare(source, folder)
    reading = cli_parts.reading(folder)
    options = (SCHEMES[scheme].weights, SCHEMES[scheme].optimizer)
    kernels = cli_parts.kernels(args.kernels, folder, options, args.threads)
    os.sync()
    writing = cli_parts.writing(out, sizes)
    shutil.rmtree(out)
    prepare(source, folder)
    both = cli_parts.both(folder, out, sizes)
    shutil.rmtree(out)
    return Parts(reading, kernels, writing, both)


def measure(args: argparse.Namespace, folder: Path, work: Path) -> list[CliRecord]:
    """All records, a value per round in each."""
    out = work / "out"
    turns = commands(args, folder, out)
    records = {(s, n): CliRecord(s, n) for s in args.sources for n in turns}
    with tqdm(total=len(records) * args.rounds, unit="run", file=sys.stderr) as bar:
        for source in args.sources:
            for _ in range(args.rounds):
                for name, command in turns.items():
                    record = records[source, name]
                    record.cached.append(prepare(source, folder))
                    record.add(run(command, {"OMP_NUM_THREADS": str(args.threads)}))
                    sizes = [path.stat().st_size for path in cli_parts.weight_files(out)]
                    record.written = sum(sizes)
                    shutil.rmtree(out)
                    scheme = name.removeprefix("quanto ")
                    if scheme in args.schemes:
                        record.parts.append(parts_of(args, source, folder, out, scheme, sizes))
                    bar.update()
    return list(records.values())


def main(given: list[str] | None = None) -> None:
    """Generates, measures, prints tables, writes JSON, and removes what it generated."""
    args = arguments(given)
    for program in (args.quanto, args.kernels):
        if not program.is_file():
            sys.exit(f"{program}: expected a program that was built, got none: run make build")
    parent = args.folder or Path("build")
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-cli-", dir=parent) as work:
        folder = Path(work) / "in"
        size = cli_checkpoint.generate(folder, args.size * 2**20)
        largest = cli_checkpoint.largest_tensor(args.size * 2**20)
        records = measure(args, folder, Path(work))
    print(cli_tables.facts(args, size, largest))
    print(cli_tables.table_of(records, size, largest))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps([asdict(record) for record in records], indent=1))


if __name__ == "__main__":
    main()
