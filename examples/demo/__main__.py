"""Quantizes a real language model in every way and shows what that costs and brings.

    python -m examples.demo [--model smollm2|tiny|DIRECTORY] [--output DIRECTORY] [--check]

Writes report.md, results.json, chart.png and the int4 model to OUTPUT/<model>.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from . import check, measure, report
from . import model as models
from .experiment import Experiment, Settings
from .rows import Row

LONGEST_WINDOW = 1024


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="smollm2", help="smollm2, tiny or a directory of a causal LM")
    add("--output", type=Path, default=models.REPOSITORY / "demo")
    add("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    add("--windows", type=int, default=10, help="windows of text for the perplexity")
    add("--prompt", type=int, default=256, help="tokens of each timed prefill")
    add("--tokens", type=int, default=24, help="tokens of each timed decoding")
    add("--rounds", type=int, default=5, help="timed runs beside the float model")
    add("--check", action="store_true", help="fail if bytes, reloads or perplexities are wrong")
    return parser.parse_args()


def settings_of(source: models.Source, tokenizer: Any, args: argparse.Namespace) -> Settings:
    """What to measure on; makes the output directory."""
    ids = tokenizer(source.text.read_text(), return_tensors="pt", verbose=False).input_ids
    length = min(LONGEST_WINDOW, models.max_positions(source.path) // 2)
    windows = measure.windows_of(ids, length, args.windows)
    if not windows:
        raise ValueError(f"demo: expected a text of at least {length} tokens, got {ids.shape[1]}")
    output = args.output / source.name
    output.mkdir(parents=True, exist_ok=True)
    return Settings(windows, windows[0][:, : args.prompt], args.tokens, args.rounds, output)


def run(args: argparse.Namespace) -> list[Row]:
    """Measures, prints and writes everything."""
    print(report.machine(), flush=True)
    source = models.obtain(args.model, args.output)
    tokenizer = models.load_tokenizer(source.path)
    settings = settings_of(source, tokenizer, args)
    rows: list[Row] = []
    steps = Experiment.steps(settings, len(args.dtypes))
    with tqdm(total=steps, unit="step", dynamic_ncols=True) as bar, models.quiet_loading():

        def step(what: str) -> None:
            bar.set_description(what, refresh=False)
            bar.update()

        experiment = Experiment(source, tokenizer, settings, step)
        for name in args.dtypes:
            rows += experiment.run(getattr(torch, name), with_quality=name == args.dtypes[0])
    report.publish(experiment, rows)
    return rows


def main() -> int:
    """Exit status: 0, or 1 after one line that says why."""
    args = arguments()
    try:
        rows = run(args)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    if not args.check:
        return 0
    failures = list(check.failures(rows, compare_optimizers=args.model != "tiny"))
    for failure in failures:
        print(f"check: {failure}", file=sys.stderr)
    if not failures:
        print("check: bytes, reloads and perplexities are as they must be")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
