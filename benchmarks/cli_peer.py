# SPDX-License-Identifier: Apache-2.0
"""Quantizes a checkpoint with another library, file by file, as its users would.

    python -m benchmarks.cli_peer optimum.quanto|torchao int8|int4 THREADS IN OUT

Runs in the environment that the library is installed in. Every matrix but the embedding and the
head is quantized by the library's own function; its tensors are saved as safetensors.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

LEFT_FLOAT = ("embed_tokens", "lm_head", "norm")
GROUP = 128


def quanto_tensors(weight: torch.Tensor, kind: str) -> dict[str, torch.Tensor]:
    """The inner tensors that optimum-quanto makes of a weight."""
    from optimum.quanto import AbsmaxOptimizer, MaxOptimizer, qint4, qint8, quantize_weight

    if kind == "int8":
        scale = AbsmaxOptimizer()(weight, qint8, 0)
        quantized = quantize_weight(weight, qint8, 0, scale)
    else:
        scale, shift = MaxOptimizer()(weight, qint4, 0, GROUP)
        quantized = quantize_weight(weight, qint4, 0, scale, shift, GROUP)
    state: dict[str, torch.Tensor] = {}
    quantized.save_to_state_dict(state, "", False)
    return state


def torchao_tensors(weight: torch.Tensor, kind: str) -> dict[str, torch.Tensor]:
    """The inner tensors that torchao makes of a weight."""
    from torchao.quantization import IntxWeightOnlyConfig, PerAxis, PerGroup, quantize_

    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    granularity = PerAxis(0) if kind == "int8" else PerGroup(GROUP)
    quantize_(layer, IntxWeightOnlyConfig(getattr(torch, kind), granularity))
    names, _ = layer.weight.__tensor_flatten__()
    return {f".{name}": getattr(layer.weight, name) for name in names}


MAKERS = {"optimum.quanto": quanto_tensors, "torchao": torchao_tensors}


def quantized(library: str, kind: str, path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """What is stored for a file."""
    for name, tensor in load_file(path).items():
        if any(part in name for part in LEFT_FLOAT):
            yield name, tensor
            continue
        for leaf, inner in MAKERS[library](tensor, kind).items():
            yield name + leaf, inner.contiguous()


def main(library: str, kind: str, threads: str, source: str, out: str) -> None:
    """One checkpoint."""
    torch.set_num_threads(int(threads))
    Path(out).mkdir()
    for path in sorted(Path(source).glob("*.safetensors")):
        save_file(dict(quantized(library, kind, path)), Path(out) / path.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
