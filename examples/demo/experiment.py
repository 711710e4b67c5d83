"""Measures one model under every scheme, beside the float model of the same dtype."""

import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import quanto

from . import checkpoint, footprint, measure
from . import model as models
from .measure import Latency, Spread
from .rows import Row
from .schemes import SCHEMES, Scheme

KEPT = ("int4", "float32")
ANSWERING = ("float", "int4", "int4 HQQ")


def is_kept(row: Row) -> bool:
    """Whether this row's checkpoint stays in the output directory."""
    return (row.scheme, row.dtype) == KEPT


@dataclass(frozen=True)
class Settings:
    """What is measured on, and how often."""

    windows: list[torch.Tensor]
    prompt: torch.Tensor
    tokens: int
    rounds: int
    output: Path


@dataclass
class Experiment:
    """`step` is told what was done, once for each of steps()."""

    source: models.Source
    tokenizer: Any
    settings: Settings
    step: Callable[[str], None]
    answers: dict[str, str] = field(default_factory=dict)
    left_float: list[str] = field(default_factory=list)

    @staticmethod
    def steps(settings: Settings, dtypes: int) -> int:
        """Calls of `step` in runs of that many dtypes, one of them with quality."""
        quality = len(settings.windows) * (len(SCHEMES) + 1)
        return quality + dtypes * (len(SCHEMES) * (2 + settings.rounds) + 1)

    def run(self, dtype: torch.dtype, with_quality: bool) -> list[Row]:
        """The float row and one row per scheme; perplexity and answers on request."""
        name = str(dtype).removeprefix("torch.")
        base = models.load(self.source.path, dtype)
        first = Row("float", name)
        if with_quality:
            self._quality(first, base)
        rows: list[Row] = []
        base_latencies: list[Latency] = []
        layers: list[str] = []
        for scheme in SCHEMES:
            row = Row(scheme.name, name, scheme.remark)
            quantized = self._quantize(row, base, scheme)
            layers = list(quanto.quantization_map(quantized))
            self._sizes(row, base, quantized, layers, scheme.qtype.bits)
            self._explain(row, quantized)
            if with_quality:
                self._quality(row, quantized)
            base_latencies += self._latency(row, base, quantized)
            self._reload(row, quantized, keep=is_kept(row))
            rows.append(row)
        self._sizes(first, base, base, layers, 8 * dtype.itemsize)
        first.prefill = Spread.of(latency.prefill for latency in base_latencies)
        first.decode = Spread.of(latency.decode for latency in base_latencies)
        self._process(first, rows, dtype)
        return [first, *rows]

    def _quantize(self, row: Row, base: Any, scheme: Scheme) -> Any:
        model = deepcopy(base)
        start = time.perf_counter()
        scheme.apply(model)
        row.quantize_s = time.perf_counter() - start
        self.step(f"{row.dtype} {row.scheme}: quantized")
        return model

    def _sizes(self, row: Row, base: Any, model: Any, layers: list[str], bits: int) -> None:
        shapes = measure.linear_shapes(base, layers)
        row.weights = sum(outputs * inputs for outputs, inputs in shapes)
        row.size = measure.model_size(model, layers)
        if model is base:
            row.expected_bytes = row.weights * bits // 8
        else:
            row.expected_bytes = measure.formula_bytes(shapes, bits, base.dtype)

    def _explain(self, row: Row, model: Any) -> None:
        explanation = quanto.explain(model, rows=(1, self.settings.prompt.shape[1]))
        choices = [choice for module in explanation.modules for choice in module.kernels]
        row.kernels = sorted({f"M = {c.rows}: {c.kernel} ({c.isa})" for c in choices})
        self.left_float = [f"{left.name} ({left.reason})" for left in explanation.left_float]
        if is_kept(row):
            (self.settings.output / "explain.txt").write_text(f"{explanation}\n")

    def _quality(self, row: Row, model: Any) -> None:
        total = 0.0
        for loss in measure.losses(model, self.settings.windows):
            total += loss
            self.step(f"{row.dtype} {row.scheme}: perplexity")
        row.perplexity = measure.perplexity(total, self.settings.windows)
        if row.scheme in ANSWERING:
            self.answers[row.scheme] = self._answer(model)

    @torch.no_grad()
    def _answer(self, model: Any, tokens: int = 40) -> str:
        if self.tokenizer.chat_template:
            chat = [{"role": "user", "content": self.source.prompt}]
            inputs = self.tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        else:
            inputs = self.tokenizer(self.source.prompt, return_tensors="pt")
        ids = inputs["input_ids"]
        mask = torch.ones_like(ids)
        out = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=tokens)
        return str(self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)).strip()

    def _latency(self, row: Row, base: Any, model: Any) -> list[Latency]:
        """Fills the row and returns the float model's times."""
        settings = self.settings
        pairs = []
        for pair in measure.interleaved(
            base, model, settings.prompt, settings.tokens, settings.rounds
        ):
            pairs.append(pair)
            self.step(f"{row.dtype} {row.scheme}: latency")
        row.prefill = Spread.of(own.prefill for _, own in pairs)
        row.decode = Spread.of(own.decode for _, own in pairs)
        row.prefill_ratio = Spread.of(own.prefill / other.prefill for other, own in pairs)
        row.decode_ratio = Spread.of(own.decode / other.decode for other, own in pairs)
        return [other for other, _ in pairs]

    @torch.no_grad()
    def _reload(self, row: Row, model: Any, keep: bool) -> None:
        """Reloading ends with the first logits: a mapped file has not been read before."""
        path = self.settings.output / ("int4" if keep else "temporary")
        prompt = self.settings.prompt[:, :64]
        start = time.perf_counter()
        checkpoint.save(model, path)
        row.save_s = time.perf_counter() - start
        start = time.perf_counter()
        reloaded = checkpoint.reload(path, model.dtype)
        reloaded(prompt[:, :1])
        row.reload_s = time.perf_counter() - start
        row.identical_after_reload = torch.equal(reloaded(prompt).logits, model(prompt).logits)
        if not keep:
            shutil.rmtree(path)
        self.step(f"{row.dtype} {row.scheme}: reloaded")

    def _process(self, first: Row, rows: list[Row], dtype: torch.dtype) -> None:
        least = min(first.size.quantized - row.size.quantized for row in rows)
        if least >= footprint.MEASURABLE:
            names = [row.scheme for row in rows]
            lines = footprint.measure(self.source.path, dtype, names)
            for row, line in zip(rows, lines, strict=True):
                row.process_saved = line["before"] - line["after"]
        self.step(f"{first.dtype}: memory of a process")
