# SPDX-License-Identifier: Apache-2.0
"""How far 16-bit fixed-point activations move the logits of a language model.

    python -m benchmarks.fixed_point [--model smollm2] [--tokens 256] [--qtypes qint4 qint2]

A text is fed token by token, so that every Linear has one row and `gemv_fixed16` (explain names
it). The distance of two runs is the root mean square of the difference of a token's logits; the
table has its median and its largest over the tokens:

- of the fp32 model from itself with the inputs of its Linears rounded to the dtype, and with them
  rounded to fixed point instead: what each rounding does by itself;
- of the dtype's model from its fp32 copy, and so much with every row repeated, which takes a
  kernel that rounds no activation.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

import quanto
from examples.demo import model as models
from quanto.nn import QModuleMixin

from .tables import table

EXACT_ROWS = 3
"""Rows from which no kernel rounds activations."""
MOST = 127 * 257
"""The largest number of two digits from -128 to 127."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.fixed_point",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default="smollm2", help="smollm2, tiny or a directory of a causal LM")
    add("--tokens", type=int, default=256)
    add("--qtypes", nargs="+", default=["qint4", "qint2"])
    add("--dtypes", nargs="+", default=["bfloat16", "float16"])
    return parser.parse_args()


def fixed_point(x: torch.Tensor, group_size: int) -> torch.Tensor:
    """As kernels/cpu/linear_fixed16.h rounds it."""
    groups = x.unflatten(-1, (-1, group_size))
    largest = groups.abs().amax(-1, keepdim=True)
    unit = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - 15)
    unit = torch.where(largest > MOST * unit, 2 * unit, unit)
    return ((groups / unit).round() * unit).flatten(-2)


Rounding = Callable[[QModuleMixin, torch.Tensor], torch.Tensor]


@contextmanager
def changed(model: torch.nn.Module, change: Rounding, rows: int = 1) -> Iterator[None]:
    """Every quantized module sees its input changed, and its first row is its output."""

    def before(module: Any, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        return change(module, inputs[0]).expand(-1, rows, -1)

    def after(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output[:, :1]

    handles = []
    for module in model.modules():
        if isinstance(module, QModuleMixin):
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Of each token, fed one after the other: (tokens, vocabulary), fp32."""
    found, cache = [], None
    for token in ids[0]:
        out = model(token.view(1, 1), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        found.append(out.logits[0, -1].float())
    return torch.stack(found)


def distance(a: torch.Tensor, b: torch.Tensor) -> str:
    """Of two runs: median and largest."""
    found = (a - b).square().mean(1).sqrt()
    return f"{found.median():.4f}, {found.max():.4f}"


def line(source: models.Source, name: str, qtype: str, tokens: int) -> list[str]:
    """Of the table: one model."""
    dtype = getattr(torch, name)

    def to_dtype(module: QModuleMixin, x: torch.Tensor) -> torch.Tensor:
        return x.to(dtype).to(x.dtype)

    def to_fixed(module: QModuleMixin, x: torch.Tensor) -> torch.Tensor:
        return fixed_point(x, module.weight_group_size)

    model = models.load(source.path, dtype)
    quanto.quantize(model, weights=qtype, exclude="lm_head")
    quanto.freeze(model)
    modules = quanto.explain(model, rows=(1,)).modules
    kernels = sorted({choice.kernel for module in modules for choice in module.kernels})
    ids = models.load_tokenizer(source.path)(source.text.read_text(), return_tensors="pt").input_ids
    ids = ids[:, :tokens]
    fixed = logits(model, ids)
    with changed(model, to_dtype, EXACT_ROWS):
        exact = logits(model, ids)
    model = copy.deepcopy(model).float()
    wide = logits(model, ids)
    with changed(model, to_dtype):
        rounded = logits(model, ids)
    with changed(model, to_fixed):
        pointed = logits(model, ids)
    pairs = ((rounded, wide), (pointed, wide), (fixed, wide), (exact, wide))
    return [name, qtype, ", ".join(kernels), *(distance(*pair) for pair in pairs)]


def main() -> int:
    """Prints the table."""
    args = arguments()
    source = models.obtain(args.model, models.REPOSITORY / "demo")
    header = [
        "dtype",
        "weights",
        "kernels",
        "inputs to dtype",
        "inputs to fixed point",
        "model to fp32",
        "exact to fp32",
    ]
    lines = [line(source, d, q, args.tokens) for d in args.dtypes for q in args.qtypes]
    print(table(header, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
