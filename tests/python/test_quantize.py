"""quantize, freeze and quantization_map: what is replaced, what is refused, what is said."""

import json
import logging
import textwrap
import warnings

import pytest
import torch
from frozen_models import INPUT, every_scheme, float_model, frozen_model
from torch import nn

import quanto
from quanto import QLinear, QTensor
from quanto.nn import qmodule


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 32)
        self.norm = nn.LayerNorm(32)
        self.block = nn.ModuleDict({"q": nn.Linear(32, 32), "k": nn.Linear(32, 32)})
        self.head = nn.Linear(32, 20, bias=False)

    def forward(self, ids):
        x = self.norm(self.embed(ids))
        return self.head(self.block["q"](x) + self.block["k"](x))


def kinds(model):
    return {name: type(m).__name__ for name, m in model.named_modules() if name}


def test_linears_are_replaced_and_share_their_weights():
    model = Attention()
    weight = model.block["q"].weight
    quanto.quantize(model, weights=quanto.qint8)
    assert isinstance(model.block["q"], QLinear)
    assert model.block["q"].weight is weight
    assert model.block["q"].name == "block.q"
    assert type(model.norm) is nn.LayerNorm
    assert type(model.embed) is nn.Embedding


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("qint8", quanto.qint8),
        ("int8", quanto.qint8),
        (quanto.qint4, quanto.qint4),
        ("int2", quanto.qint2),
        ("qfloat8", quanto.qfloat8),
        ("float8", quanto.qfloat8_e4m3fn),
        ("float8_e5m2", quanto.qfloat8_e5m2),
    ],
    ids=str,
)
def test_types_by_name_or_object(weights, expected):
    model = float_model()
    quanto.quantize(model, weights)
    assert model[0].weight_qtype is expected


def test_activations_by_name():
    model = float_model()
    quanto.quantize(model, weights="int4", activations="float8")
    assert model[0].activation_qtype is quanto.qfloat8_e4m3fn
    assert (model[0].quantizes_input, model[0].quantizes_output) == (True, True)
    assert not model[0].dynamic


def test_dynamic_activations_quantize_inputs_only():
    model = nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32))
    quanto.quantize(model, weights="int8", activations="int8", dynamic=True)
    assert model[0].dynamic
    assert (model[0].quantizes_input, model[0].quantizes_output) == (True, False)
    assert type(model[1]) is nn.LayerNorm


def test_every_kind_of_module():
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 3),
            "norm": nn.LayerNorm(4),
            "linear": nn.Linear(4, 4),
            "embed": nn.Embedding(4, 4),
            "conv1": nn.Conv1d(3, 4, 3),
            "batch": nn.BatchNorm2d(4),
        }
    )
    quanto.quantize(model, weights="int8")
    left = {"norm": "LayerNorm", "embed": "Embedding", "conv1": "Conv1d", "batch": "BatchNorm2d"}
    assert kinds(model) == {"conv": "QConv2d", "linear": "QLinear", **left}
    quanto.quantize(model, weights="int8", activations="int8")
    assert kinds(model) == {"conv": "QConv2d", "linear": "QLinear", **left, "norm": "QLayerNorm"}


@pytest.mark.parametrize(
    ("include", "quantized"),
    [
        ("embed", True),
        ("*.embed", True),
        ("*emb*", True),
        ("body.embed", True),
        ("*", False),
        ("body.*", False),
        ("body*", False),
        (None, False),
    ],
)
def test_embeddings_are_quantized_where_include_names_them(include, quantized):
    body = nn.ModuleDict({"embed": nn.Embedding(4, 4), "embers": nn.Linear(4, 4)})
    model = body if include == "embed" else nn.ModuleDict({"body": body})
    quanto.quantize(model, weights="int8", include=include)
    assert (type(body["embed"]) is quanto.QEmbedding) == quantized


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"include": "block.*"}, {"block.q", "block.k"}),
        ({"include": ["*.q", "head"]}, {"block.q", "head"}),
        ({"exclude": "head"}, {"block.q", "block.k"}),
        ({"include": "block.*", "exclude": ["*.k"]}, {"block.q"}),
    ],
    ids=["include", "include list", "exclude", "exclude wins"],
)
def test_patterns(options, expected):
    model = Attention()
    quanto.quantize(model, "qint8", **options)
    assert {name for name, kind in kinds(model).items() if kind == "QLinear"} == expected


def test_what_was_done_is_logged(caplog):
    with caplog.at_level(logging.INFO, "quanto"):
        quanto.quantize(nn.Sequential(nn.Linear(8, 8)), weights=quanto.qint8)
    assert [record.getMessage() for record in caplog.records] == [
        "quantize: 1 modules to quanto.qint8"
    ]


def test_group_size_is_honoured():
    model = float_model()
    quanto.quantize(model, weights="qint4", group_size=8)
    quanto.freeze(model)
    assert model[0].weight.group_size == 8
    assert model[0].weight._scale.shape == (64 * 4, 1)


def test_optimizer_is_used():
    model, plain = float_model(), float_model()
    quanto.quantize(model, "qint4", optimizer=quanto.HqqOptimizer())
    quanto.quantize(plain, "qint4")
    dense = model[0].weight.detach().clone()
    quanto.freeze(model)
    quanto.freeze(plain)
    errors = [(m[0].weight.dequantize() - dense).abs().mean() for m in (model, plain)]
    assert errors[0] < errors[1]


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 2


def test_linears_with_a_forward_of_their_own_are_left():
    model = nn.Sequential(Scaled(4, 4), nn.Linear(4, 4))
    with pytest.warns(UserWarning, match=r"0 \(Scaled has a forward of its own\)"):
        quanto.quantize(model, "qint8")
    assert type(model[0]) is Scaled
    assert isinstance(model[1], QLinear)


def test_lazy_and_empty_linears_are_left():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.LazyLinear(4), nn.Linear(0, 4), nn.Linear(4, 4))
    with pytest.warns(UserWarning, match=r"not initialized.*empty"):
        quanto.quantize(model, "qint8")
    assert [type(m).__name__ for m in model] == ["LazyLinear", "Linear", "QLinear"]


def test_subclasses_of_linear_are_replaced():
    attention = nn.MultiheadAttention(8, 2)
    quanto.quantize(attention, "qint8")
    assert isinstance(attention.out_proj, QLinear)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("padding", [False, True])
def test_encoders_of_torch_call_the_quantized_modules(padding):
    """In eval, without gradients, they pass all weights to one fused function if they can."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x, mask = torch.randn(2, 5, 16), None
    if padding:
        mask = torch.zeros(2, 5, dtype=torch.bool)
        mask[1, 3:] = True
    quanto.quantize(model, "int2", exclude="*out_proj")
    with torch.no_grad():
        unfrozen = model(x, src_key_padding_mask=mask)
        quanto.freeze(model)
        frozen = model(x, src_key_padding_mask=mask)
    assert torch.equal(unfrozen, frozen)


def test_a_module_at_two_names_stays_one():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    quanto.quantize(model, "qint8")
    assert isinstance(model[0], QLinear)
    assert model[2] is model[0]


def test_hooks_and_mode_are_kept():
    model = nn.Sequential(nn.Linear(4, 4)).eval()
    calls = []
    model[0].register_forward_hook(lambda *args: calls.append(1))
    quanto.quantize(model, "qint8")
    model(torch.zeros(1, 4))
    assert calls == [1]
    assert not model[0].training


def test_unfrozen_modules_can_be_requantized_and_frozen_ones_are_left():
    model = float_model()
    quanto.quantize(model, "qint8")
    quanto.quantize(model, "qint4")
    assert model[0].weight_qtype is quanto.qint4
    quanto.freeze(model)
    with pytest.warns(UserWarning, match="frozen as qint4"):
        quanto.quantize(model, "qint8")
    assert model[0].weight.qtype is quanto.qint4


@pytest.mark.parametrize("weights", ["qint4", None])
def test_activations_can_be_added_to_frozen_modules(weights):
    model = frozen_model("qint4")
    weight = model[0].weight
    quanto.quantize(model, weights=weights, activations="int8", dynamic=True)
    assert model[0].weight is weight
    assert model[0].weight_group_size == 16
    assert model[0].activation_qtype is quanto.qint8
    assert model[0].frozen
    assert torch.isfinite(model(INPUT)).all()


def test_scales_and_mode_survive_a_second_quantization():
    model = nn.Sequential(nn.Linear(4, 4)).eval()
    quanto.quantize(model, "int8", activations="int8")
    model[0].input_scale.fill_(0.5)
    quanto.quantize(model, "int4", activations="int8")
    assert model[0].input_scale == 0.5
    assert not model[0].training


@every_scheme
def test_freezing_is_idempotent_and_changes_no_output(scheme):
    model = float_model()
    quanto.freeze(model)
    assert not any(isinstance(p, QTensor) for p in model.parameters())
    quanto.quantize(model, scheme)
    before = model(INPUT).detach()
    quanto.freeze(model)
    weight = model[0].weight
    quanto.freeze(model)
    assert model[0].weight is weight
    assert torch.equal(model(INPUT), before)


@every_scheme
def test_map_is_json_with_what_a_reload_needs(scheme):
    model = frozen_model(scheme)
    found = quanto.quantization_map(model)
    assert json.loads(json.dumps(found)) == found
    assert list(found) == ["0", "2"]
    name = quanto.qtypes[scheme].name
    group_size = model[0].weight_group_size
    assert found["0"]["weights"] == name
    assert found["0"]["activations"] == "none"
    assert found["0"]["group_size"] == group_size


def test_direct_construction():
    layer = QLinear(
        in_features=160, out_features=8, bias=False, dtype=torch.float16, weights="qint4"
    )
    assert layer.weight_group_size == 32
    assert layer.weight.dtype == layer.input_scale.dtype == torch.float16
    assert (layer.input_scale.shape, layer.output_scale.shape) == ((), ())
    assert not QLinear(4, 4, weights="qint8", activations=quanto.qint8).quantizes_input


def test_quantize_module_returns_none_for_other_modules():
    assert quanto.quantize_module(nn.ReLU(), weights="qint8") is None


def test_quantize_module_makes_embeddings_only_by_their_own_class():
    embedding = nn.Embedding(4, 4)
    assert quanto.quantize_module(embedding, weights="qint8") is None
    assert type(quanto.QEmbedding.from_module(embedding, weights="qint8")) is quanto.QEmbedding


@pytest.fixture
def documented_qmodule():
    """The class of register_qmodule's docstring, registered."""
    text = quanto.register_qmodule.__doc__.partition("::\n")[2].partition("`qcreate` makes")[0]
    names = {"nn": nn, "QModuleMixin": quanto.QModuleMixin}
    exec(textwrap.dedent(text), names | {"register_qmodule": quanto.register_qmodule})
    yield qmodule._QMODULES[nn.Conv1d]
    del qmodule._QMODULES[nn.Conv1d]


def test_registering_a_module(documented_qmodule):
    model = nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv1d(6, 2, 1))
    x = torch.randn(2, 4, 9)
    quanto.quantize(model, weights="qint4", group_size=2)
    assert type(model[0]) is documented_qmodule
    before = model(x)
    before.sum().backward()
    assert model[0].weight.grad is not None
    quanto.freeze(model)
    assert model[0].weight._scale.shape == (6 * 4 * 3 // 2, 1)
    assert torch.equal(model(x), before)
    other = nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv1d(6, 2, 1))
    quanto.requantize(other, model.state_dict(), quanto.quantization_map(model))
    assert torch.equal(other(x), before)


def test_activations_of_a_registered_module(documented_qmodule):
    model = nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.Conv1d(6, 2, 1))
    x = torch.randn(2, 4, 9)
    dense = model(x).detach()
    quanto.quantize(model, weights="qint8", activations="qint8")
    with torch.no_grad(), quanto.Calibration(streamline=False):
        model(x)
    output = model(x)
    assert isinstance(output, quanto.ActivationQBytesTensor)
    assert (output.dequantize() - dense).abs().max() < 0.1 * dense.abs().max()


def test_registered_subclasses_come_after_what_was_registered_before():
    """The first registered class that the module is an instance of is the one, as ever."""

    class Special(nn.Linear):
        pass

    class QSpecial(quanto.QModuleMixin, Special):
        pass

    quanto.register_qmodule(Special)(QSpecial)
    try:
        assert type(quanto.quantize_module(Special(4, 4), weights="qint8")) is QLinear
    finally:
        del qmodule._QMODULES[Special]
