# SPDX-License-Identifier: Apache-2.0
"""Quantizes a language model, calibrates its activations, saves it and generates with it.

    python -m examples.text_generation [--model DIRECTORY] [--weights int4] [--activations int8]

Without --model it takes the bundled model of 260 thousand parameters. Nothing is downloaded.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import quanto

from .demo import model as models

TINY = models.DATA / "stories260K"
TEXT = models.DATA / "tinystories" / "valid.txt"


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="text_generation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, default=TINY, help="directory of a causal LM and its tokenizer")
    add("--weights", default="int8", help="int8, int4, int2, float8, ...")
    add("--activations", default="none", help="none, int8, float8, ...")
    add("--dynamic", action="store_true", help="a scale per token instead of a calibration")
    add("--text", type=Path, default=TEXT, help="what to calibrate and to measure on")
    add("--prompt", default="Once upon a time", help="what to continue")
    add("--tokens", type=int, default=32, help="how many to generate")
    add("--save", type=Path, help="directory for the quantized model; default: a temporary one")
    return parser.parse_args(given)


def windows(tokenizer: Any, text: Path, length: int = 128, count: int = 8) -> list[torch.Tensor]:
    """The text's first tokens, in pieces of that length."""
    ids = tokenizer(text.read_text(), return_tensors="pt", verbose=False).input_ids
    pieces = [piece for piece in ids.split(length, dim=1) if piece.shape[1] == length]
    if len(pieces) < 2:
        raise ValueError(
            f"text_generation: expected {2 * length} tokens of text, got {ids.shape[1]}"
        )
    return pieces[:count]


@torch.no_grad()
def perplexity(model: Any, pieces: list[torch.Tensor]) -> float:
    """Of the text, each piece by itself."""
    losses = [model(piece, labels=piece).loss for piece in pieces]
    return float(torch.stack(losses).mean().exp())


@torch.no_grad()
def calibrate(model: Any, pieces: list[torch.Tensor]) -> None:
    """Watch what flows through the model, to choose one scale for each input and output."""
    with quanto.Calibration():
        for piece in pieces:
            model(piece)


def generate(model: Any, tokenizer: Any, prompt: str, tokens: int) -> str:
    """The prompt and what the model adds to it, greedily."""
    inputs = tokenizer(prompt, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    text: str = tokenizer.decode(ids[0], skip_special_tokens=True)
    return text


def quantize(model: Any, args: argparse.Namespace, pieces: list[torch.Tensor]) -> None:
    """In place: weights, and activations if they are asked for."""
    activations = None if args.activations == "none" else args.activations
    quanto.quantize(model, weights=args.weights, activations=activations, dynamic=args.dynamic)
    if activations and not args.dynamic:
        calibrate(model, pieces)
    quanto.freeze(model)


def mebibytes(model: Any) -> float:
    """What the model's tensors take, each counted once."""
    tensors = {t.data_ptr(): t.numel() * t.element_size() for t in model.state_dict().values()}
    return sum(tensors.values()) / 2**20


def run(args: argparse.Namespace) -> None:
    """Quantizes, saves, reloads and compares."""
    if not (args.model / "config.json").exists():
        raise FileNotFoundError(f"text_generation: expected a model's directory, got {args.model}")
    tokenizer = models.load_tokenizer(args.model)
    model = models.load(args.model, torch.float32)
    pieces = windows(tokenizer, args.text)
    half = len(pieces) // 2
    print(f"float: {mebibytes(model):.2f} MiB, perplexity {perplexity(model, pieces[half:]):.3f}")
    quantize(model, args, pieces[:half])
    print(
        f"{args.weights}: {mebibytes(model):.2f} MiB, "
        f"perplexity {perplexity(model, pieces[half:]):.3f}"
    )
    with tempfile.TemporaryDirectory() as temporary, models.quiet_loading():
        directory = args.save or Path(temporary)
        quanto.save_pretrained(model, directory)
        reloaded = quanto.load(directory)
        before, after = (
            generate(m, tokenizer, args.prompt, args.tokens) for m in (model, reloaded)
        )
    if before != after:
        raise RuntimeError("text_generation: expected the reloaded model to say the same")
    print(f"reloaded, it says the same: {after}")


def main(given: list[str] | None = None) -> int:
    """Exit status: 0, or 1 after one line that says why."""
    try:
        run(arguments(given))
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
