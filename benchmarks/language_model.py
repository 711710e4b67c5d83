# SPDX-License-Identifier: Apache-2.0
"""Language models in a worker: loaded, quantized by its library, and timed."""

import time
from pathlib import Path
from typing import Any

import torch

from . import peers
from .packed_linear import NoLinear

FLOAT = "float"
NO_LINEAR = "no Linear"
HEAD = "lm_head"
WITH_HEAD = " and head"
"""Ends the name of a scheme that quantizes the head too."""


def load(package: str, path: Path, dtype: torch.dtype, scheme: str) -> Any:
    """The causal LM of `path`, quantized; its head stays float unless the scheme names it."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True)
    model = model.eval().requires_grad_(False)
    if scheme == NO_LINEAR:
        for parent, name, layer in peers.linears(model, ()):
            setattr(parent, name, NoLinear(layer))
    elif scheme.endswith(WITH_HEAD):
        _quantize_with_head(model, scheme.removesuffix(WITH_HEAD))
    elif scheme != FLOAT:
        peers.quantize(package, model, scheme, (HEAD,))
    return model


def _quantize_with_head(model: Any, scheme: str) -> None:
    """Ours alone: a head that shares its weight with the embedding is quantized with it."""
    import quanto

    quanto.quantize(model, weights=scheme)
    quanto.quantize(model, weights=scheme, include=HEAD)
    quanto.freeze(model)


@torch.no_grad()  # optimum-quanto's tensors of 4 and 2 bits refuse inference mode
def seconds(model: Any, prompt: int, tokens: int) -> dict[str, float]:
    """Of one prefill of `prompt` tokens, and of each of `tokens` greedy ones after it."""
    ids = torch.arange(1, prompt + 1)[None] % model.config.vocab_size
    start = time.perf_counter()
    out = model(ids, use_cache=True, logits_to_keep=1)
    prefilled = time.perf_counter()
    for _ in range(tokens):
        token = out.logits[:, -1:].argmax(-1)
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
    return {
        "prefill": prefilled - start,
        "decode": (time.perf_counter() - prefilled) / tokens,
    }
