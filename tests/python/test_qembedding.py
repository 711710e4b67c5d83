# SPDX-License-Identifier: Apache-2.0
"""QEmbedding: rows of the dequantized weight, and a float embedding's gradient."""

import copy

import pytest
import torch
from frozen_models import every_scheme
from torch import nn

import quanto
from quanto import QEmbedding

INDICES = torch.tensor([[0, 3, 3], [9, 1, 0]])


def case(scheme="int8", dtype=torch.float32, **options):
    torch.manual_seed(4)
    embedding = nn.Embedding(10, 160, dtype=dtype, **options)
    return embedding, QEmbedding.from_module(embedding, weights=scheme)


def frozen(scheme="int8", **options):
    layer = case(scheme, **options)[1]
    layer.freeze()
    return layer


@every_scheme
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("index", [torch.int64, torch.int32], ids=str)
def test_rows_are_those_of_the_dequantized_weight(scheme, dtype, index):
    _, layer = case(scheme, dtype)
    before = layer(INDICES.to(index)).detach()
    layer.freeze()
    output = layer(INDICES.to(index))
    assert output.dtype == dtype
    assert torch.equal(output, layer.weight.dequantize()[INDICES])
    assert torch.equal(output, before)


def test_shapes_of_indices():
    layer = frozen()
    assert layer(torch.tensor(3)).shape == (160,)
    assert layer(torch.zeros(0, 2, dtype=torch.int64)).shape == (0, 2, 160)


@pytest.mark.parametrize("index", [-1, 10])
def test_indices_out_of_range(index):
    with pytest.raises(IndexError, match=rf"embedding: expected .*got {index}"):
        frozen()(torch.tensor([0, index]))


@every_scheme
@pytest.mark.parametrize("padding_idx", [None, 3, -1])
def test_gradients_are_those_of_a_float_embedding(scheme, padding_idx):
    embedding, layer = case(scheme, padding_idx=padding_idx)
    g = torch.randn(*INDICES.shape, 160)
    layer(INDICES).backward(g)
    mine = embedding.weight.grad.clone()
    embedding.weight.grad = None
    embedding(INDICES).backward(g)
    torch.testing.assert_close(mine, embedding.weight.grad)


def test_padding_is_decoded_as_any_row():
    layer = frozen(padding_idx=3)
    assert layer.padding_idx == 3
    assert torch.equal(layer(torch.tensor(3)), torch.zeros(160))


def test_activations_stay_float():
    model = nn.ModuleDict({"embed": nn.Embedding(4, 8), "linear": nn.Linear(8, 4)})
    quanto.quantize(model, "int8", activations="int8", include=["embed", "linear"])
    assert model["embed"].activation_qtype is None
    assert model["linear"].activation_qtype is quanto.qint8
    assert type(model["embed"](torch.tensor([1]))) is torch.Tensor


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_norm": 1.0}, "max_norm changes the weight in every forward"),
        ({"sparse": True}, "sparse gradients are not supported"),
        ({"scale_grad_by_freq": True}, "scale_grad_by_freq gradients are not supported"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_codes_cannot_serve(options, reason):
    model = nn.ModuleDict({"embed": nn.Embedding(4, 8, **options), "linear": nn.Linear(8, 4)})
    with pytest.warns(UserWarning, match=rf"embed \({reason}\)"):
        quanto.quantize(model, "int8", include=["embed", "linear"])
    assert type(model["embed"]) is nn.Embedding
    with pytest.raises(ValueError, match=f"QEmbedding: expected other options, as {reason}"):
        QEmbedding.from_module(model["embed"], weights="int8")


class Scaled(nn.Embedding):
    def forward(self, input):
        return 2 * super().forward(input)


def test_embeddings_with_a_forward_of_their_own_are_left():
    model = nn.ModuleDict({"embed": Scaled(4, 8), "linear": nn.Linear(8, 4)})
    with pytest.warns(UserWarning, match=r"embed \(Scaled has a forward of its own\)"):
        quanto.quantize(model, "int8", include=["embed", "linear"])
    assert type(model["embed"]) is Scaled


@every_scheme
def test_state_and_copies(scheme):
    layer = frozen(scheme)
    _, fresh = case(scheme)
    nn.init.zeros_(fresh.weight)
    fresh.load_state_dict(layer.state_dict(), strict=True)
    for twin in (fresh, copy.deepcopy(layer)):
        assert torch.equal(twin(INDICES), layer(INDICES))
    assert layer.to(torch.bfloat16)(INDICES).dtype == torch.bfloat16


@every_scheme
def test_reloading(scheme):
    model = nn.Sequential(nn.Embedding(10, 160))
    quanto.quantize(model, scheme, include="0")
    quanto.freeze(model)
    with torch.device("meta"):
        other = nn.Sequential(nn.Embedding(10, 160))
    quanto.requantize(other, model.state_dict(), quanto.quantization_map(model))
    assert type(other[0]) is QEmbedding
    assert torch.equal(other(INDICES), model(INDICES))


@every_scheme
def test_compiled(scheme):
    layer = frozen(scheme)
    with torch.no_grad():
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(INDICES), layer(INDICES))
