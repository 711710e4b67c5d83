# SPDX-License-Identifier: Apache-2.0
"""The wrappers of diffusers' models: what they write, reload and refuse."""

import json

import pytest
import torch
from torch import nn
from wrapped_models import every_scheme

from quanto import QuantizedDiffusersModel, QuantizedPixArtTransformer2DModel


def pixart():
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    torch.manual_seed(0)
    return diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        cross_attention_dim=16,
        sample_size=8,
        caption_channels=16,
        use_additional_conditions=False,
    ).eval()


def denoised(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return model(
            torch.randn(1, 4, 8, 8, generator=generator),
            encoder_hidden_states=torch.randn(1, 5, 16, generator=generator),
            timestep=torch.tensor([3]),
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        ).sample


@every_scheme
@pytest.mark.parametrize("size", [None, "4KB"])
def test_diffusers_models(scheme, size, tmp_path):
    model = QuantizedPixArtTransformer2DModel.quantize(pixart(), weights=scheme)
    model.save_pretrained(tmp_path, max_shard_size=size)
    name = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / (name if size is None else f"{name}.index.json")).is_file()
    again = QuantizedPixArtTransformer2DModel.from_pretrained(tmp_path)
    assert not again.training
    assert torch.equal(denoised(again), denoised(model))


def test_diffusers_refusals(tmp_path):
    model = pixart()
    with pytest.raises(ValueError, match="must be a quantized diffusers model"):
        QuantizedPixArtTransformer2DModel(model)
    with pytest.raises(ValueError, match="must be a diffusers model"):
        QuantizedPixArtTransformer2DModel.quantize(nn.Sequential(nn.Linear(4, 4)), weights="qint8")
    wrapper = QuantizedPixArtTransformer2DModel.quantize(model, weights="qint8")
    wrapper.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="`base_class` attribute needs to be configured"):
        QuantizedDiffusersModel.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "_class_name": "Other"}))
    with pytest.raises(ValueError, match=r"Configured base class \(PixArt.*\(Other\)"):
        QuantizedPixArtTransformer2DModel.from_pretrained(tmp_path)
