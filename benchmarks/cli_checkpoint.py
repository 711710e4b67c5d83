# SPDX-License-Identifier: Apache-2.0
"""Generates a checkpoint of a size: a Llama's tensors in bfloat16, sharded as transformers does.

    python -m benchmarks.cli_checkpoint FOLDER [--size 4096]

The same size gives the same bytes. Values are normal, cut from one pool at places that differ, so
that the time to generate is that to write.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

POOL = 2**22
"""Elements drawn once; a tensor is the pool, repeated from a place of its own."""
PLACE = 104729
"""How far apart, in elements, the places of two tensors are: a prime, so they all differ."""
SHARDS = 8
"""About how many files; one never holds less than its largest tensor."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a model."""

    hidden: int
    inner: int
    vocabulary: int

    def layer(self, index: int) -> dict[str, tuple[int, ...]]:
        """The tensors of a layer."""
        hidden, inner = self.hidden, self.inner
        attention = {f"self_attn.{name}_proj": (hidden, hidden) for name in "qkvo"}
        mlp = {
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
        norms = dict.fromkeys(("input_layernorm", "post_attention_layernorm"), (hidden,))
        tensors = attention | mlp | norms
        return {f"model.layers.{index}.{name}.weight": size for name, size in tensors.items()}

    def ends(self) -> dict[str, tuple[int, ...]]:
        """The tensors before and after the layers."""
        words = (self.vocabulary, self.hidden)
        return {
            "model.embed_tokens.weight": words,
            "model.norm.weight": (self.hidden,),
            "lm_head.weight": words,
        }


SHAPES = (Shape(4096, 11008, 32000), Shape(1024, 2816, 8000), Shape(256, 768, 1000))


def elements(tensors: dict[str, tuple[int, ...]]) -> int:
    """Of all tensors together."""
    return sum(torch.Size(size).numel() for size in tensors.values())


def model_of(size: int) -> tuple[Shape, int]:
    """The largest shape that has at least 4 layers in `size` bytes, and the layers that fill it."""
    for shape in SHAPES:
        layers = (size / 2 - elements(shape.ends())) / elements(shape.layer(0))
        if layers >= 4:
            break
    return shape, max(1, math.ceil(layers))


def largest_tensor(size: int) -> int:
    """Bytes of the largest tensor of such a checkpoint."""
    shape, _ = model_of(size)
    tensors = shape.ends() | shape.layer(0)
    return 2 * max(torch.Size(one).numel() for one in tensors.values())


def shards(tensors: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    """Names of consecutive tensors of about one SHARDS-th of the bytes."""
    most, names, count = elements(tensors) / SHARDS, list[str](), 0
    for name, size in tensors.items():
        if names and count + torch.Size(size).numel() > most:
            yield names
            names, count = [], 0
        names.append(name)
        count += torch.Size(size).numel()
    yield names


def config(shape: Shape, layers: int) -> dict[str, Any]:
    """What transformers reads."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": layers,
        "num_attention_heads": shape.hidden // 64,
        "num_key_value_heads": shape.hidden // 64,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }


def generate(folder: Path, size: int) -> int:
    """Writes the checkpoint of about `size` bytes; the bytes of its tensors."""
    shape, layers = model_of(size)
    tensors = shape.ends()
    for index in range(layers):
        tensors |= shape.layer(index)
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    pool = (0.02 * torch.randn(POOL, generator=generator)).bfloat16()
    files, place, weight_map = list(shards(tensors)), 0, {}
    for number, names in enumerate(files, 1):
        file = f"model-{number:05}-of-{len(files):05}.safetensors"
        state = {}
        for name in names:
            count = torch.Size(tensors[name]).numel()
            turned = pool.roll(-place)
            state[name] = turned.repeat(-(-count // POOL))[:count].reshape(tensors[name])
            place = (place + PLACE) % POOL
            weight_map[name] = file
        save_file(state, folder / file, {"format": "pt"})
    total = 2 * elements(tensors)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    (folder / "config.json").write_text(json.dumps(config(shape, layers), indent=1))
    return total


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.cli_checkpoint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=4096, help="MiB")
    args = parser.parse_args()
    print(f"{generate(args.folder, args.size * 2**20)} bytes of tensors in {args.folder}")


if __name__ == "__main__":
    main()
