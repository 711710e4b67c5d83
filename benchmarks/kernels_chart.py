# SPDX-License-Identifier: Apache-2.0
"""The chart of kernels.py: the share of the limit, per case."""

from pathlib import Path
from typing import Any

from .kernels_goals import Record
from .kernels_record import Elementwise, Linear


def draw(path: Path, records: list[Record], title: str) -> None:
    """A panel per activation, a line per weight, and one for what moves memory; most threads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    most = max(record.threads for record in records)
    shown = [r for r in records if r.threads == most and "%limit" in r.counters]
    linear = [r for r in shown if isinstance(r, Linear) and r.place == "cold"]
    moving = [record for record in shown if isinstance(record, Elementwise)]
    activations = list(dict.fromkeys(record.activation for record in linear))
    panels = len(activations) + bool(moving)
    if not panels:
        return
    figure, grid = plt.subplots(
        1, panels, figsize=(4 * panels, 4), layout="constrained", squeeze=False
    )
    figure.suptitle(f"% of the limit, {most} threads. {title}", fontsize=10)
    for axes, activation in zip(grid[0], activations, strict=False):
        _draw_linear(axes, [r for r in linear if r.activation == activation])
        axes.set(title=f"Linear, {activation} activations", xlabel="rows")
    if moving:
        _draw_moving(grid[0][-1], moving)
    for axes in grid[0]:
        axes.grid(alpha=0.3)
    figure.savefig(path)
    plt.close(figure)


def _draw_linear(axes: Any, records: list[Linear]) -> None:
    for weight in dict.fromkeys(record.weight for record in records):
        line = [record for record in records if record.weight == weight]
        spreads = [record.spread("%limit") for record in line]
        medians = [value.median for value in spreads]
        errors = [
            [value.median - value.low for value in spreads],
            [value.high - value.median for value in spreads],
        ]
        rows = [record.rows for record in line]
        axes.errorbar(rows, medians, errors, marker="o", markersize=3, capsize=2, label=weight)
    axes.set_xscale("log", base=2)
    ticks = sorted({record.rows for record in records})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(bottom=0)
    axes.axhline(100, color="black", linewidth=0.8, linestyle="--")
    axes.legend(fontsize=7)


def _draw_moving(axes: Any, records: list[Elementwise]) -> None:
    names = [record.kernel for record in records]
    axes.barh(names, [record.spread("%limit").median for record in records])
    axes.axvline(100, color="black", linewidth=0.8, linestyle="--")
    axes.tick_params(axis="y", labelsize=7)
    axes.set(title="1 GiB of bf16, of a copy")
    axes.invert_yaxis()
