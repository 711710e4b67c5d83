"""The ways in which transformers and diffusers reach a quantized module."""

import pytest
import torch
from frozen_models import every_scheme
from torch import nn

import quanto
from quanto import QLinear, QModuleMixin, qtypes


@every_scheme
def test_the_steps_of_transformers_quantizer(scheme):
    with torch.device("meta"):
        layer = QLinear(
            in_features=64,
            out_features=32,
            bias=True,
            dtype=torch.bfloat16,
            weights=qtypes[scheme],
            activations=None,
        )
    assert isinstance(layer, QModuleMixin)
    assert not layer.frozen
    assert list(layer.state_dict()) == ["weight", "bias", "input_scale", "output_scale"]
    layer.weight = nn.Parameter(torch.randn(32, 64, dtype=torch.bfloat16))
    layer.bias = nn.Parameter(torch.zeros(32, dtype=torch.bfloat16))
    layer.input_scale = torch.ones(layer.input_scale.shape)
    layer.output_scale = torch.ones(layer.output_scale.shape)
    layer.freeze()
    layer.weight.requires_grad = False
    layer.weight._is_hf_initialized = True
    assert layer.frozen
    assert layer(torch.randn(2, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


@every_scheme
def test_the_steps_of_diffusers_quantizer(scheme):
    source = QLinear(64, 32, weights=scheme)
    source.freeze()
    with torch.device("meta"):
        layer = QLinear(in_features=64, out_features=32, bias=True, weights=qtypes[scheme])
    layer.requires_grad_(False)
    quanto.freeze(nn.Sequential(layer))
    for name, tensor in source.state_dict().items():
        owner = layer
        *path, leaf = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        value = nn.Parameter(tensor) if name == "bias" else tensor
        setattr(owner, leaf, value)
    x = torch.randn(2, 64)
    assert torch.equal(layer(x), source(x))
    assert layer.weight.device.type == "cpu"


def tiny_config(**options):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    return transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        **options,
    )


@every_scheme
def test_a_language_model_end_to_end(scheme):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(tiny_config(tie_word_embeddings=True)).eval()
    ids = torch.arange(8)[None]
    with pytest.warns(UserWarning, match=r"lm_head \(with model.embed_tokens.weight\)"):
        quanto.quantize(model, weights=scheme)
    quanto.freeze(model)
    with torch.no_grad():
        logits = model(ids).logits
        model.tie_weights()
        assert torch.equal(model(ids).logits, logits)
        assert model.generate(ids, max_new_tokens=3, do_sample=False).shape == (1, 11)
    assert type(model.lm_head) is nn.Linear
    assert model.model.layers[0].self_attn.q_proj.frozen
