"""A transformer block, quantized in several ways, beside its float twin."""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import quanto

HEAD = 64
"""Features of one attention head."""
CALIBRATION_ROWS = 64


class Block(nn.Module):
    """Causal self-attention and a gated MLP, each after a norm and with a residual."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        inner = 4 * hidden
        self.norm_attention = nn.RMSNorm(hidden)
        self.norm_mlp = nn.RMSNorm(hidden)
        self.q = nn.Linear(hidden, hidden, bias=False)
        self.k = nn.Linear(hidden, hidden, bias=False)
        self.v = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.gate = nn.Linear(hidden, inner, bias=False)
        self.up = nn.Linear(hidden, inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:-1], -1, HEAD).transpose(-2, -3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, tokens, hidden) to the same shape."""
        normed = self.norm_attention(x)
        q, k, v = (self._heads(layer(normed)) for layer in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(-2, -3).flatten(-2))
        normed = self.norm_mlp(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


def _weight_only(qtype: str) -> Callable[[Block, torch.Tensor], None]:
    return lambda block, data: quanto.quantize(block, weights=qtype)


def _static(block: Block, data: torch.Tensor) -> None:
    quanto.quantize(block, weights="qint8", activations="qint8")
    with torch.no_grad(), quanto.Calibration():
        block(data)


def _dynamic(block: Block, data: torch.Tensor) -> None:
    quanto.quantize(block, weights="qint8", activations="qint8", dynamic=True)


SCHEMES: dict[str, Callable[[Block, torch.Tensor], None]] = {
    "int8 static": _static,
    "int8 dynamic": _dynamic,
    "int8 weights": _weight_only("qint8"),
    "float8 weights": _weight_only("qfloat8"),
    "int4 weights": _weight_only("qint4"),
}
FLOAT = "float"


@dataclass
class BlockRecord:
    """Seconds of one forward, one value per round."""

    scheme: str
    dtype: str
    hidden: int
    rows: int
    seconds: list[float] = field(default_factory=list)


def blocks_of(hidden: int, dtype: torch.dtype) -> dict[str, Block]:
    """The float block and its quantized copies, by scheme."""
    torch.manual_seed(0)
    plain = Block(hidden).eval().to(dtype)
    data = torch.randn(1, CALIBRATION_ROWS, hidden, dtype=dtype)
    blocks = {FLOAT: plain}
    for name, prepare in SCHEMES.items():
        block = copy.deepcopy(plain)
        prepare(block, data)
        quanto.freeze(block)
        blocks[name] = block
    return blocks


@torch.no_grad()
def measure(hidden: int, dtype_name: str, rows: list[int], rounds: int) -> Iterator[BlockRecord]:
    """Every block in turns, for each number of rows; yields a record after each of its rounds."""
    dtype = getattr(torch, dtype_name)
    blocks = blocks_of(hidden, dtype)
    for count in rows:
        x = torch.randn(1, count, hidden, dtype=dtype)
        records = {name: BlockRecord(name, dtype_name, hidden, count) for name in blocks}
        for block in blocks.values():
            block(x)
        for _ in range(rounds):
            for name, block in blocks.items():
                records[name].seconds.append(_seconds(block, x))
                yield records[name]


def _seconds(block: Any, x: torch.Tensor) -> float:
    """The shorter of two calls: the first one also refills the caches."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        block(x)
        times.append(time.perf_counter() - start)
    return min(times)
