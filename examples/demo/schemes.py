"""The ways to quantize that the demo compares."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import quanto

logging.getLogger("quanto").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Scheme:
    """One row of the table. Weights only; the scales come from the optimizer."""

    name: str
    qtype: Any
    optimizer: Callable[[], Any] | None = None
    remark: str = ""

    def apply(self, model: torch.nn.Module) -> None:
        """Quantizes and freezes `model`."""
        optimizer = self.optimizer() if self.optimizer else None
        with warnings.catch_warnings():  # the report tells what stays float
            warnings.filterwarnings("ignore", message="quantize: left float")
            quanto.quantize(model, weights=self.qtype, optimizer=optimizer)
        quanto.freeze(model)


SCHEMES = (
    Scheme("int8", quanto.qint8),
    Scheme("float8", quanto.qfloat8),
    Scheme("int4", quanto.qint4),
    Scheme("int4 HQQ", quanto.qint4, quanto.HqqOptimizer),
    Scheme("int2", quanto.qint2, remark="not usable by min-max"),
)


def scheme(name: str) -> Scheme:
    """The scheme of that name."""
    return next(s for s in SCHEMES if s.name == name)
