# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of transformers and diffusers that the tests of the integrations share."""

from pathlib import Path

import pytest
import torch

IDS = torch.arange(3, 15)[None]

WEIGHTS = ["int8", "float8", "int4", "int2"]
every_weight = pytest.mark.parametrize("weights", WEIGHTS)


def llama_config(**options):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {
        "vocab_size": 64,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    return transformers.LlamaConfig(**(sizes | {"eos_token_id": None} | options))


def llama(seed: int = 0, **options):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = llama_config(**options)
    torch.manual_seed(seed)
    return transformers.LlamaForCausalLM(config).eval()


@torch.no_grad()
def logits(model, ids: torch.Tensor = IDS) -> torch.Tensor:
    return model(ids).logits


def saved_llama(path: Path, **options) -> Path:
    llama(**options).save_pretrained(path)
    return path


def pixart(seed: int = 0):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    torch.manual_seed(seed)
    return diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=32,
        sample_size=8,
        patch_size=2,
        caption_channels=16,
        use_additional_conditions=False,
    ).eval()


@torch.no_grad()
def denoise(model, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 4, 8, 8, generator=generator).to(dtype)
    text = torch.randn(1, 5, 16, generator=generator).to(dtype)
    conditions = {"resolution": None, "aspect_ratio": None}
    step = torch.tensor([3.0])
    return model(
        image, encoder_hidden_states=text, timestep=step, added_cond_kwargs=conditions
    ).sample


def anonymous_mib() -> float:
    """Memory of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    pytest.skip("the kernel does not tell RssAnon")
