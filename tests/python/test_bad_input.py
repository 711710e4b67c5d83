# SPDX-License-Identifier: Apache-2.0
"""What quantize() and the modules refuse: one line that says why, and nothing is changed."""

import warnings

import pytest
import torch
from frozen_models import every_scheme, float_model
from torch import nn

import quanto
from quanto import QConv2d, QEmbedding, QLayerNorm, QLinear


def several():
    return nn.ModuleDict(
        {
            "embed": nn.Embedding(8, 32),
            "conv": nn.Conv2d(3, 4, 3),
            "norm": nn.LayerNorm(32),
            "linear": nn.Linear(32, 8),
            "act": nn.ReLU(),
        }
    )


def refused(error, match, model=None, **options):
    """quantize() raises and leaves every module as it was."""
    model = several() if model is None else model
    before = list(model.modules())
    with pytest.raises(error, match=match) as seen:
        quanto.quantize(model, **options)
    assert "\n" not in str(seen.value)
    assert all(m is old for m, old in zip(model.modules(), before, strict=True))


def test_no_types():
    refused(ValueError, "quantize: expected a type for weights or activations, got neither")


@pytest.mark.parametrize("error", [KeyError, ValueError])
@pytest.mark.parametrize("option", ["weights", "activations"])
@pytest.mark.parametrize("name", ["qint3", "int16", "qqint8", torch.int8], ids=str)
def test_unknown_types_are_both_key_and_value_errors(error, option, name):
    options = {"weights": "qint8", option: name}
    refused(error, r"expected one of qint2, qint4, qint8.*got", **options)


@pytest.mark.parametrize("activations", ["qint4", "int2", quanto.qint4], ids=str)
def test_activations_have_8_bits(activations):
    refused(
        ValueError,
        r"quantize: expected an 8-bit type for activations, got qint[24]",
        weights="int8",
        activations=activations,
    )


def test_activations_without_weights():
    refused(
        ValueError,
        r"quantize: expected a type for weights too, which conv \(Conv2d\) has, got activations",
        activations="int8",
    )


def test_activations_without_weights_are_enough_for_norms():
    model = several()
    quanto.quantize(model, activations="int8", include="norm")
    assert isinstance(model["norm"], QLayerNorm)


def test_dynamic_without_activations():
    refused(
        ValueError,
        "expected a type for activations with dynamic, got none",
        weights="int8",
        dynamic=True,
    )


@pytest.mark.parametrize("option", [{"optimizer": quanto.AbsmaxOptimizer()}, {"group_size": 16}])
def test_options_of_weights_without_weights(option):
    refused(ValueError, "without weights", activations="int8", include="norm", **option)


@pytest.mark.parametrize("option", ["include", "exclude"])
@pytest.mark.parametrize("patterns", ["nothing.*", ["linear", "nothing.*"]], ids=str)
def test_patterns_that_match_nothing(option, patterns):
    match = rf"quantize: expected {option} to match modules.*, got none for nothing\.\*"
    refused(ValueError, match, weights="int8", **{option: patterns})


def test_patterns_that_match_only_what_cannot_be_quantized():
    match = "expected include to match modules that can be quantized, got none for act"
    refused(ValueError, match, weights="int8", include=["linear", "act"])


def test_patterns_that_reach_embeddings_only_by_their_parents():
    model = nn.ModuleDict({"body": nn.ModuleDict({"embed": nn.Embedding(4, 4)})})
    match = r"that can be quantized, got none for body\.\*"
    refused(ValueError, match, model, weights="int8", include="body.*")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.ReLU()), "$"),
        (nn.Linear(4, 4), "; the model itself is never replaced$"),
        (nn.Sequential(nn.Linear(0, 4)), r"; .*0 \(its weight is empty\)$"),
    ],
    ids=["nothing", "the model itself", "an empty weight"],
)
def test_nothing_to_quantize(model, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        match = f"quantize: expected a module to quantize, got none{reason}"
        refused(ValueError, match, model, weights="int8")


def test_excluding_everything():
    refused(ValueError, "expected a module to quantize, got none", weights="int8", exclude="*")


def test_group_sizes():
    model = nn.Sequential(nn.Linear(64, 48), nn.Linear(48, 8))
    options = {"weights": "qint4", "group_size": 64}
    refused(ValueError, r"1: expected group_size to divide 48, got 64", model, **options)
    options = {"weights": "qint8", "group_size": 16}
    refused(ValueError, "expected no group_size for qint8, got 16", model, **options)
    conv = nn.Sequential(nn.Conv2d(8, 4, 3, groups=2))
    options = {"weights": "qint4", "group_size": 8}
    refused(ValueError, r"0: expected group_size to divide 36, got 8", conv, **options)


@pytest.mark.parametrize(
    ("weights", "optimizer"),
    [("qint8", quanto.MaxOptimizer()), ("qint4", quanto.AbsmaxOptimizer())],
    ids=["affine for 8 bits", "symmetric for 4 bits"],
)
def test_optimizers_must_fit_the_type(weights, optimizer):
    refused(ValueError, r"expected an? .*Optimizer for q", weights=weights, optimizer=optimizer)


def test_double_weights_are_refused_by_name():
    match = r"conv\.weight of float32, float16 or bfloat16, got torch\.float64"
    refused(TypeError, match, several().double(), weights="qint8")


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


def test_dynamic_needs_an_operator():
    from quanto.nn import qmodule

    class Special(nn.Bilinear):
        pass

    class QSpecial(quanto.QModuleMixin, Special):
        pass

    quanto.register_qmodule(Special)(QSpecial)
    try:
        model = nn.Sequential(nn.Linear(4, 4), Special(4, 4, 4))
        options = {"weights": "int8", "activations": "int8", "dynamic": True}
        refused(ValueError, "expected static activations for 1, as QSpecial", model, **options)
    finally:
        qmodule._QMODULES.pop(Special)


def test_mixin_without_a_module_is_a_type_error():
    with pytest.raises(TypeError, match=r"expected an nn\.Module"):
        type("Wrong", (quanto.QModuleMixin,), {})(weights="qint8")


@pytest.mark.parametrize("cls", [QLinear, QEmbedding], ids=lambda cls: cls.__name__)
def test_modules_need_a_type_for_their_weight(cls):
    with pytest.raises(ValueError, match=f"{cls.__name__}: expected a type for weights, got None"):
        cls(4, 4)
    with pytest.raises(TypeError, match=f"{cls.__name__}: expected a type for weights"):
        QLinear(4, 4, activations="int8") if cls is QLinear else cls(4, 4, activations="int8")


def test_inputs_of_another_dtype():
    conv = QConv2d(3, 4, 3, weights="int8")
    with pytest.raises(RuntimeError, match="conv2d: expected input of the weight's dtype"):
        conv(torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16))


@pytest.mark.parametrize("cls", [QConv2d, QLayerNorm, QLinear], ids=lambda cls: cls.__name__)
def test_inputs_quantized_to_another_type(cls):
    arguments = {QConv2d: (4, 4, 1), QLayerNorm: (4,), QLinear: (4, 4)}[cls]
    weights = None if cls is QLayerNorm else "int8"
    layer = cls(*arguments, weights=weights, activations="int8", quantize_input=True)
    base = torch.zeros(4, 4, 4)
    input = quanto.quantize_activation(base, quanto.qfloat8, torch.tensor(1.0))
    match = "expected an input quantized to qint8, got qfloat8_e4m3fn"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scales that are not calibrated
        with pytest.raises(ValueError, match=match):
            layer(input)
