# SPDX-License-Identifier: Apache-2.0
"""An embedding and an output head that share one weight share one quantized weight."""

import copy
import warnings

import pytest
import torch
from frozen_models import every_scheme
from torch import nn

import quanto

IDS = torch.tensor([[1, 2, 3], [4, 5, 19]])


class Tied(nn.Module):
    """A model with more than an embedding and a head, so that something else can be named."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 160, padding_idx=0)
        self.mix = nn.Linear(160, 160)
        self.head = nn.Linear(160, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(torch.tanh(self.mix(self.embed(ids))))


def tied(scheme="qint8", include=("head", "mix"), **options):
    torch.manual_seed(0)
    model = Tied()
    quanto.quantize(model, scheme, include=list(include), **options)
    return model


def frozen(scheme="qint8", **options):
    model = tied(scheme, **options)
    quanto.freeze(model)
    return model


def shares(model):
    return model.head.weight is model.embed.weight


def test_head_stays_float_with_one_warning_unless_it_is_named():
    model = Tied()
    with pytest.warns(UserWarning, match=r"head \(with embed.weight\)") as seen:
        quanto.quantize(model, "qint8")
    assert len(seen) == 1
    assert type(model.head) is nn.Linear
    assert type(model.embed) is nn.Embedding
    assert shares(model)


def test_excluded_head_needs_no_warning():
    model = Tied()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quanto.quantize(model, "qint8", exclude="head")
    assert type(model.mix) is quanto.QLinear


@pytest.mark.parametrize("named", ["head", "embed", "*hea*"])
def test_naming_one_quantizes_both(named):
    model = tied(include=[named])
    assert type(model.head) is quanto.QLinear
    assert type(model.embed) is quanto.QEmbedding
    assert (model.head.name, model.embed.name) == ("head", "embed")
    assert shares(model)


def test_both_or_neither():
    model = Tied()
    with pytest.raises(
        ValueError, match=r"expected head and embed\.weight .*exclude leaves it out"
    ):
        quanto.quantize(model, "qint8", include="head", exclude="embed")
    model.embed.max_norm = 1.0
    with pytest.raises(ValueError, match=r"expected head and embed\.weight .*max_norm"):
        quanto.quantize(model, "qint8", include="head")
    model.embed = nn.Bilinear(1, 1, 1)
    model.embed.weight = model.head.weight
    with pytest.raises(ValueError, match=r"Bilinear has no quantized counterpart"):
        quanto.quantize(model, "qint8", include="head")
    assert type(model.head) is nn.Linear


@every_scheme
def test_one_weight_after_freezing(scheme):
    model = tied(scheme)
    before = model(IDS).detach()
    quanto.freeze(model)
    assert model.head.frozen
    assert shares(model)
    assert len([p for p in model.parameters() if isinstance(p, quanto.QTensor)]) == 2
    torch.testing.assert_close(model(IDS).detach(), before)


@every_scheme
def test_the_values_are_those_of_the_weight(scheme):
    model = frozen(scheme)
    dense = Tied()
    dense.embed.weight = dense.head.weight = nn.Parameter(model.embed.weight.dequantize())
    dense.mix.weight = nn.Parameter(model.mix.weight.dequantize())
    dense.mix.bias = model.mix.bias
    assert torch.equal(model.embed(IDS), dense.embed(IDS))
    torch.testing.assert_close(model(IDS), dense(IDS))


@every_scheme
def test_both_names_in_the_state_dict_and_one_tensor_in_the_file(scheme, tmp_path):
    model = frozen(scheme)
    state = model.state_dict()
    inner = [name.removeprefix("embed.") for name in state if name.startswith("embed.weight.")]
    assert inner
    for name in inner:
        assert state[f"embed.{name}"].data_ptr() == state[f"head.{name}"].data_ptr()
    quanto.safe_save(state, tmp_path / "tied.safetensors")
    alone = {name: t for name, t in state.items() if not name.startswith("head.weight")}
    quanto.safe_save(alone, tmp_path / "alone.safetensors")
    assert (tmp_path / "tied.safetensors").stat().st_size < (
        tmp_path / "alone.safetensors"
    ).stat().st_size + 1000  # metadata
    loaded = quanto.safe_load(tmp_path / "tied.safetensors")
    assert loaded.keys() == state.keys()


@every_scheme
@pytest.mark.parametrize("make", [tied, frozen])
def test_explain_counts_the_weight_once(scheme, make):
    model = make(scheme)
    report = quanto.explain(model)
    assert [module.shares for module in report.modules] == [None, None, "embed"]
    assert "head: shares its weight with embed" in str(report)
    quanto.freeze(model)
    tensors = {t.data_ptr(): t.nbytes for t in model.state_dict().values()}
    assert report.total_bytes == sum(tensors.values())
    assert quanto.explain(model).quantized_bytes == report.quantized_bytes


@every_scheme
def test_the_tie_survives_copies_and_moves(scheme):
    model = frozen(scheme)
    expected = model(IDS)
    twin = copy.deepcopy(model)
    assert shares(twin)
    assert twin.head.weight is not model.head.weight
    assert torch.equal(twin(IDS), expected)
    twin.to(torch.bfloat16)
    assert shares(twin)
    assert twin.head.weight.dtype == torch.bfloat16
    assert shares(twin.to("meta"))


@every_scheme
@pytest.mark.parametrize("dropped", ["", "head.weight", "embed.weight"])
def test_reloading_restores_the_tie(scheme, dropped):
    model = frozen(scheme)
    state = model.state_dict()
    kept = {k: t for k, t in state.items() if not (dropped and k.startswith(dropped))}
    with torch.device("meta"):
        other = Tied()
    quanto.requantize(other, kept, quanto.quantization_map(model))
    assert shares(other)
    assert type(other.embed) is quanto.QEmbedding
    assert torch.equal(other(IDS), model(IDS))


def test_activations_of_the_head():
    model = frozen(activations="int8", dynamic=True)
    assert shares(model)
    assert model.embed.activation_qtype is None
    assert model.head.activation_qtype is model.head.weight.activation_qtype is quanto.qint8
    assert torch.isfinite(model(IDS)).all()


def test_the_gradient_of_both_uses_reaches_the_weight():
    model = tied()
    model(IDS).square().sum().backward()
    both = model.embed.weight.grad.clone()
    model.zero_grad()
    hidden = torch.tanh(model.mix(model.embed(IDS))).detach()
    model.head(hidden).square().sum().backward()
    head = model.embed.weight.grad.clone()
    difference = both - head
    used = torch.zeros(20, dtype=torch.bool)
    used[IDS.flatten()] = True
    assert (difference[used].abs().sum(1) > 0).all()
    assert (difference[~used] == 0).all()


def test_quantizing_anew_keeps_the_tie():
    model = tied("qint8")
    quanto.quantize(model, "qint4")
    assert shares(model)
    assert model.head.weight_qtype is model.embed.weight_qtype is quanto.qint4
    quanto.freeze(model)
    assert shares(model)


def test_tie_weights_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model = transformers.LlamaForCausalLM(config)
    quanto.quantize(model, "qint8", include=["lm_head", "*_proj"])
    quanto.freeze(model)
    weight = model.lm_head.weight
    model.tie_weights()
    assert model.lm_head.weight is model.model.embed_tokens.weight is weight
    assert isinstance(weight, quanto.QTensor)
    assert torch.isfinite(model(IDS).logits).all()
