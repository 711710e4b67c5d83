"""The chart: size, perplexity and time per token, side by side."""

import math
from pathlib import Path
from typing import Any

from .rows import Row

UNUSABLE = 10.0
"""Perplexities beyond this many times the float model's are cut off."""


def draw(path: Path, rows: list[Row], title: str) -> None:
    """Size, perplexity and time per token, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (sizes, quality, speed) = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    figure.suptitle(title, fontsize=11)
    first = [row for row in rows if row.dtype == rows[0].dtype]
    _draw_sizes(sizes, first)
    _draw_perplexity(quality, first)
    _draw_speed(speed, rows)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_sizes(axes: Any, rows: list[Row]) -> None:
    names = [row.scheme for row in rows]
    rest = [row.size.rest / 1e6 for row in rows]
    quantized = [row.size.quantized / 1e6 for row in rows]
    axes.bar(names, quantized, label="quantized layers", color="tab:blue")
    axes.bar(names, rest, bottom=quantized, label="rest (embeddings, norms)", color="lightgrey")
    for i, (row, top) in enumerate(
        zip(rows, map(sum, zip(quantized, rest, strict=True)), strict=True)
    ):
        axes.annotate(
            f"{row.bits_per_weight:.2f} bits", (i, top), ha="center", va="bottom", fontsize=8
        )
    axes.set(title=f"Size of the tensors ({rows[0].dtype})", ylabel="MB")
    axes.margins(y=0.12)
    axes.legend(fontsize=8)


def _draw_perplexity(axes: Any, rows: list[Row]) -> None:
    values = [row.perplexity or math.nan for row in rows]
    usable = [value for value in values if value < UNUSABLE * values[0]]
    limit = 1.25 * max(usable)
    for i, (row, value) in enumerate(zip(rows, values, strict=True)):
        cut = value not in usable
        axes.bar(row.scheme, min(value, limit), color="tab:red" if cut else "tab:green")
        text = f"{value:.1e}\nnot usable" if cut else f"{value:.2f}"
        axes.annotate(
            text,
            (i, min(value, 0.98 * limit)),
            ha="center",
            va="top" if cut else "bottom",
            color="white" if cut else "black",
            fontsize=8,
        )
    axes.axhline(values[0], color="black", linewidth=0.8, linestyle="--")
    axes.set(title=f"Perplexity ({rows[0].dtype}, lower is better)", ylim=(0, limit))


def _draw_speed(axes: Any, rows: list[Row]) -> None:
    dtypes = list(dict.fromkeys(row.dtype for row in rows))
    width = 0.8 / len(dtypes)
    for offset, dtype in enumerate(dtypes):
        ratios = [
            (row.scheme, row.decode_ratio)
            for row in rows
            if row.dtype == dtype and row.decode_ratio
        ]
        places = [i + (offset - (len(dtypes) - 1) / 2) * width for i in range(len(ratios))]
        heights = [ratio.median for _, ratio in ratios]
        errors = [
            [ratio.median - ratio.low for _, ratio in ratios],
            [ratio.high - ratio.median for _, ratio in ratios],
        ]
        bars = axes.bar(places, heights, width, yerr=errors, capsize=2, label=dtype)
        axes.bar_label(bars, fmt="%.2f", fontsize=8, label_type="center", color="white")
        axes.set_xticks(range(len(ratios)), [name for name, _ in ratios])
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set(title="Time per token / float model")
    axes.margins(y=0.25)
    axes.legend(fontsize=8, ncols=len(dtypes), loc="upper center")
