"""Perplexity, latency and bytes of a causal LM."""

import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

GROUP_SIZES = (128, 96, 64, 32)


@dataclass(frozen=True)
class Spread:
    """What repeated measurements say: their median and their extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The spread of at least one value."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Size:
    """Bytes of the weights of the quantized layers (scales and shifts included) and of the rest."""

    quantized: int
    rest: int


@dataclass(frozen=True)
class Latency:
    """Seconds of one prefill and of one decoded token."""

    prefill: float
    decode: float


def windows_of(ids: torch.Tensor, length: int, count: int) -> list[torch.Tensor]:
    """The first `count` whole windows of (1, tokens), without overlap."""
    available = ids.shape[1] // length
    return [ids[:, i * length : (i + 1) * length] for i in range(min(count, available))]


@torch.no_grad()
def losses(model: Any, windows: list[torch.Tensor]) -> Iterator[float]:
    """Sum of the negative log likelihoods of each window, one window at a time."""
    for window in windows:
        logits = model(window, use_cache=False).logits[0, :-1].float()
        yield torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item()


def perplexity(total_loss: float, windows: list[torch.Tensor]) -> float:
    """Per token that was predicted."""
    predicted = sum(window.shape[1] - 1 for window in windows)
    return float(torch.tensor(total_loss / predicted, dtype=torch.float64).exp())


@torch.no_grad()
def latency(model: Any, prompt: torch.Tensor, tokens: int) -> Latency:
    """One prefill of `prompt`, then `tokens` greedy tokens."""
    start = time.perf_counter()
    out = model(prompt, use_cache=True, logits_to_keep=1)
    prefill = time.perf_counter() - start
    token = out.logits[:, -1:].argmax(-1)
    start = time.perf_counter()
    for _ in range(tokens):
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
    return Latency(prefill, (time.perf_counter() - start) / tokens)


def interleaved(
    base: Any, model: Any, prompt: torch.Tensor, tokens: int, rounds: int
) -> Iterator[tuple[Latency, Latency]]:
    """Pairs of neighbouring runs, so that their ratio survives a machine whose speed drifts."""
    for warm_up in (base, model):
        latency(warm_up, prompt, 2)
    for _ in range(rounds):
        yield latency(base, prompt, tokens), latency(model, prompt, tokens)


def linear_shapes(model: torch.nn.Module, names: Iterable[str]) -> list[tuple[int, int]]:
    """(out_features, in_features) of the named layers."""
    layers = (model.get_submodule(name) for name in names)
    return [(int(layer.weight.shape[0]), int(layer.weight.shape[1])) for layer in layers]  # type: ignore[union-attr, index, arg-type]


def model_size(model: torch.nn.Module, quantized: Iterable[str]) -> Size:
    """Bytes of the tensors of a state dict; tied ones count once."""
    weights = {f"{name}.weight" for name in quantized}
    sizes: dict[int, tuple[bool, int]] = {}
    for key, tensor in model.state_dict().items():
        of_weight = key in weights or key.rpartition(".weight.")[0] + ".weight" in weights
        sizes[tensor.data_ptr()] = (of_weight, tensor.nbytes)
    return Size(
        sum(count for of_weight, count in sizes.values() if of_weight),
        sum(count for of_weight, count in sizes.values() if not of_weight),
    )


def formula_bytes(shapes: Iterable[tuple[int, int]], bits: int, dtype: torch.dtype) -> int:
    """data + scale + shift, from the shapes alone: what the quantized layers should take.

    8 bits: a byte a weight and one scale per output. Fewer: packed codes, and a scale and a shift
    for each group of the first size in GROUP_SIZES that divides in_features, when that is larger
    than 128; for each output otherwise.
    """
    total = 0
    for outputs, inputs in shapes:
        if bits == 8:
            total += outputs * inputs + outputs * dtype.itemsize
            continue
        fitting = (size for size in GROUP_SIZES if inputs > 128 and inputs % size == 0)
        group = next(fitting, inputs)
        rows = outputs * inputs // group
        total += -(-rows * bits // 8) * group + 2 * rows * dtype.itemsize
    return total
