"""quantize, freeze and quantization_map: what is replaced, what is refused, what is said."""

import json
import logging
import warnings

import pytest
import torch
from frozen_models import INPUT, every_scheme, float_model, frozen_model
from torch import nn

import quanto
from quanto import QLinear, QTensor


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


@pytest.mark.parametrize("weights", ["qint8", quanto.qint8, "qfloat8", quanto.qfloat8], ids=str)
def test_types_by_name_or_object(weights):
    model = float_model()
    quanto.quantize(model, weights)
    assert model[0].weight_qtype is quanto.qtypes[str(weights).removeprefix("quanto.")]


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


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_patterns_that_match_nothing_are_said_once(option):
    with pytest.warns(UserWarning, match=f"{option} matches no module: nothing.*") as seen:
        quanto.quantize(Attention(), "qint8", **{option: ["block.q", "nothing.*"]})
    assert len(seen) == 1


def test_what_was_done_is_logged(caplog):
    with caplog.at_level(logging.INFO, "quanto"):
        quanto.quantize(nn.Sequential(nn.Linear(8, 8)), weights=quanto.qint8)
    assert [record.getMessage() for record in caplog.records] == [
        "quantize: 1 modules to quanto.qint8"
    ]


def test_no_types_is_an_error():
    with pytest.raises(ValueError, match="expected a type for weights"):
        quanto.quantize(float_model())


@pytest.mark.parametrize("error", [KeyError, ValueError])
@pytest.mark.parametrize("name", ["int8", "qint3", torch.int8], ids=str)
def test_unknown_types_are_both_key_and_value_errors(error, name):
    model = float_model()
    with pytest.raises(error, match=r"expected one of qint2, qint4, qint8.*got"):
        quanto.quantize(model, weights=name)
    assert not any(isinstance(m, QLinear) for m in model.modules())


@pytest.mark.parametrize("options", [{"activations": quanto.qint8}, {"dynamic": True}], ids=str)
def test_activations_are_not_implemented(options):
    with pytest.raises(NotImplementedError, match="not implemented yet"):
        quanto.quantize(float_model(), weights="qint8", **options)


def test_group_size_is_honoured():
    model = float_model()
    quanto.quantize(model, weights="qint4", group_size=8)
    quanto.freeze(model)
    assert model[0].weight.group_size == 8
    assert model[0].weight._scale.shape == (64 * 4, 1)


def test_group_size_is_checked_before_anything_is_changed():
    model = nn.Sequential(nn.Linear(64, 48), nn.Linear(48, 8))
    with pytest.raises(ValueError, match=r"1: expected group_size to divide 48, got 64"):
        quanto.quantize(model, weights="qint4", group_size=64)
    assert type(model[0]) is nn.Linear
    with pytest.raises(ValueError, match="expected no group_size for qint8, got 16"):
        quanto.quantize(model, weights="qint8", group_size=16)
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize(
    ("weights", "optimizer"),
    [("qint8", quanto.MaxOptimizer()), ("qint4", quanto.AbsmaxOptimizer())],
    ids=["affine for 8 bits", "symmetric for 4 bits"],
)
def test_optimizers_must_fit_the_type(weights, optimizer):
    model = float_model()
    with pytest.raises(ValueError, match=r"expected an? .*Optimizer for q"):
        quanto.quantize(model, weights=weights, optimizer=optimizer)
    assert type(model[0]) is nn.Linear


def test_optimizer_is_used():
    model, plain = float_model(), float_model()
    quanto.quantize(model, "qint4", optimizer=quanto.HqqOptimizer())
    quanto.quantize(plain, "qint4")
    dense = model[0].weight.detach().clone()
    quanto.freeze(model)
    quanto.freeze(plain)
    errors = [(m[0].weight.dequantize() - dense).abs().mean() for m in (model, plain)]
    assert errors[0] < errors[1]


def test_double_weights_are_refused_by_name():
    model = float_model().double()
    with pytest.raises(TypeError, match=r"0\.weight of float32, float16 or bfloat16, got"):
        quanto.quantize(model, "qint8")
    assert type(model[0]) is nn.Linear


@every_scheme
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(scheme, value):
    model = float_model()
    quanto.quantize(model, scheme)
    with torch.no_grad():
        model[2].weight[3, 4] = value
    with pytest.raises(ValueError, match=r"expected finite values in 2\.weight"):
        quanto.freeze(model)
    assert not model[0].frozen


def test_tied_head_stays_float_with_one_warning():
    model = Attention()
    model.head.weight = model.embed.weight
    with pytest.warns(UserWarning, match=r"head \(with embed.weight\)") as seen:
        quanto.quantize(model, "qint8")
    assert len(seen) == 1
    assert type(model.head) is nn.Linear
    assert model.head.weight is model.embed.weight
    with pytest.raises(NotImplementedError, match=r"head shares its weight with embed\.weight"):
        quanto.quantize(model, "qint8", include=["head"])


def test_excluded_tied_head_needs_no_warning():
    model = Attention()
    model.head.weight = model.embed.weight
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quanto.quantize(model, "qint8", exclude="head")


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
    expected = {"weights": name, "activations": "none", "group_size": group_size, "axis": 0}
    assert found["0"] == expected


def test_direct_construction():
    layer = QLinear(
        in_features=160, out_features=8, bias=False, dtype=torch.float16, weights="qint4"
    )
    assert layer.weight_group_size == 32
    assert layer.weight.dtype == layer.input_scale.dtype == torch.float16
    assert (layer.input_scale.shape, layer.output_scale.shape) == ((), ())
    with pytest.raises(ValueError, match="expected a type for weights"):
        QLinear(4, 4)
    with pytest.raises(NotImplementedError, match="activations"):
        QLinear(4, 4, weights="qint8", activations=quanto.qint8)


def test_quantize_module_returns_none_for_other_modules():
    assert quanto.quantize_module(nn.ReLU(), weights="qint8") is None


def test_registering_a_module():
    from quanto.nn import qmodule

    class Special(nn.Bilinear):
        pass

    try:

        @quanto.register_qmodule(Special)
        class QSpecial(quanto.QModuleMixin, Special):
            @classmethod
            def qcreate(cls, module, weights=None, activations=None, optimizer=None, device=None):
                sizes = (module.in1_features, module.in2_features, module.out_features)
                return cls(*sizes, weights=weights, optimizer=optimizer, device=device)

        module = quanto.quantize_module(Special(4, 4, 6), weights="qint8")
        assert isinstance(module, QSpecial)
        module.freeze()
        assert module.weight._scale.shape == (6, 1, 1)
    finally:
        qmodule._QMODULES.pop(Special)


def test_mixin_without_a_module_is_a_type_error():
    with pytest.raises(TypeError, match=r"expected an nn\.Module"):
        type("Wrong", (quanto.QModuleMixin,), {})(weights="qint8")
