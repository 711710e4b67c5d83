# SPDX-License-Identifier: Apache-2.0
"""The chart of model.py: every library's time over torch's float layer or model."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .model_record import ModelRecord, over_float
from .record import Record, Spread
from .tables import over_torch

OURS = "quanto"
Bar = tuple[str, str, Spread]
"""Library, scheme, time over that of the float twin."""


def panels(layers: list[Record], models: list[ModelRecord]) -> dict[tuple[str, str], list[Bar]]:
    """By dtype and what is measured; panels without a bar are left out."""
    found: dict[tuple[str, str], list[Bar]] = {}
    for layer, value in over_torch(layers):
        key = (layer.dtype, f"Linear {layer.n} x {layer.k}, M = {layer.rows}")
        found.setdefault(key, []).append((layer.library, layer.layer, value))
    for part in ("prefill", "decode"):
        for model, value in over_float(models, part):
            key = (model.dtype, f"language model, {part}")
            found.setdefault(key, []).append((model.library, model.scheme, value))
    return found


def draw(path: Path, layers: list[Record], models: list[ModelRecord], title: str) -> None:
    """A line of panels per dtype; bars to the left of 1 are faster than torch, ours are orange."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = panels(layers, models)
    if not found:
        return
    dtypes, parts = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 1))
    size = (3.6 * len(parts), 4 * len(dtypes))
    figure, grid = plt.subplots(
        len(dtypes), len(parts), figsize=size, layout="constrained", squeeze=False
    )
    figure.suptitle(f"Time over torch's float layer or model. {title}", fontsize=10)
    for line, dtype in zip(grid, dtypes, strict=True):
        for axes, part in zip(line, parts, strict=True):
            axes.set_title(f"{part}\n{dtype}", fontsize=9)
            _draw_bars(axes, found.get((dtype, part), []))
    figure.savefig(path)
    plt.close(figure)


def _draw_bars(axes: Any, bars: Iterable[Bar]) -> None:
    for library, scheme, value in bars:
        errors = [[value.median - value.low], [value.high - value.median]]
        color = "tab:orange" if library == OURS else "tab:gray"
        label, length = f"{library} {scheme}", value.median - 1
        axes.barh(label, length, left=1, xerr=errors, color=color)
    axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.tick_params(axis="y", labelsize=6)
    axes.invert_yaxis()
