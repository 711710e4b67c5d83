# SPDX-License-Identifier: Apache-2.0
"""Quantizes a classifier of Fashion-MNIST to 4 bits and tunes the loss of accuracy away.

    python -m examples.fashion_mnist [--data DIRECTORY] [--epochs N] [--limit N]

Writes the tuned, frozen model to OUTPUT.
"""

import argparse
import sys
from pathlib import Path

import torch

from . import data
from .workflow import Row, Settings, run

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTH = 48


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="fashion_mnist",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, default=data.DIRECTORY, help=f"files of Debian's {data.PACKAGE}")
    add("--epochs", type=int, default=2, help="of training in float")
    add("--tuning-epochs", type=int, default=1, help="of training while quantized")
    add("--limit", type=int, help="images of each split to use; default all")
    add("--weights", default="int4", help="int2, int4, int8 or float8")
    add("--activations", default="int8", help="int8 or float8")
    add("--output", type=Path, default=REPOSITORY / "demo" / "fashion_mnist")
    add("--seed", type=int, default=0)
    return parser.parse_args()


def line(*cells: str) -> str:
    """One row of the printed table."""
    step, *figures = cells
    return f"{step:<{WIDTH}}" + "".join(f"{figure:>12}" for figure in figures)


def show(row: Row) -> None:
    """Print the row as soon as it is there: training takes a while."""
    print(line(row.step, f"{row.accuracy:.2%}", f"{row.bytes}"), flush=True)


def main() -> int:
    """Exit status: 0, or 1 after one line that says why."""
    args = arguments()
    torch.manual_seed(args.seed)
    try:
        splits = [data.load(args.data, split, args.limit) for split in ("train", "test")]
        print(f"{len(splits[0])} images to train on, {len(splits[1])} to test")
        print(line("", "accuracy", "bytes"))
        epochs = (args.epochs, args.tuning_epochs)
        run(Settings(*splits, *epochs, args.weights, args.activations, args.output), show)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"saved to {args.output}; the reloaded model's logits are identical")
    return 0


if __name__ == "__main__":
    sys.exit(main())
