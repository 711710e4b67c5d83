# SPDX-License-Identifier: Apache-2.0
"""explain: sizes by formula, the kernels that run, and every fallback with its reason."""

import pytest
import torch
from frozen_models import SCHEMES, every_scheme, frozen_model, unfrozen_model
from torch import nn

import quanto
from quanto import library


@every_scheme
def test_sizes_are_those_of_the_state_dict(scheme):
    model = frozen_model(scheme)
    report = quanto.explain(model)
    assert [module.name for module in report.modules] == ["0", "2"]
    for module in report.modules:
        state = {
            name: t.numel() * t.element_size()
            for name, t in model.state_dict().items()
            if name.startswith(f"{module.name}.weight.")
        }
        assert module.bytes == sum(state.values())
        assert module.scale_bytes == state[f"{module.name}.weight._scale"]
        assert (module.qtype, module.group_size) == (quanto.qtypes[scheme].name, SCHEMES[scheme])
        assert module.frozen
        assert module.notes == ()
    assert report.total_bytes == sum(
        t.numel() * t.element_size() for t in model.state_dict().values()
    )


def test_bits_per_weight_by_formula():
    model = nn.Sequential(nn.Linear(256, 64, bias=False))
    quanto.quantize(model, "qint4")
    quanto.freeze(model)
    report = quanto.explain(model.bfloat16())
    assert report.bits_per_weight == report.modules[0].bits_per_weight == 4 + 2 * 16 / 128


@every_scheme
def test_kernels_are_those_of_the_plan(scheme):
    report = quanto.explain(frozen_model(scheme), rows=(1, 7), dtype=torch.bfloat16)
    name = quanto.qtypes[scheme].name
    shift = "none" if name.startswith(("qint8", "qf")) else "float"
    for choice in report.modules[0].kernels:
        plan = library.plan(torch.bfloat16, name, choice.rows, 32, 64, SCHEMES[scheme], shift)
        assert (choice.kernel, choice.isa) == plan
    assert [choice.rows for choice in report.modules[0].kernels] == [1, 7]


@every_scheme
def test_unfrozen_modules_are_planned_and_noted(scheme):
    report = quanto.explain(unfrozen_model(scheme))
    frozen = quanto.explain(frozen_model(scheme))
    assert [m.bytes for m in report.modules] == [m.bytes for m in frozen.modules]
    assert not report.modules[0].frozen
    assert "not frozen" in report.modules[0].notes[0]


def test_what_stays_float_says_why():
    model = nn.ModuleDict(
        {
            "embed": nn.Embedding(20, 32),
            "attention": nn.MultiheadAttention(32, 2),
            "conv": nn.Conv1d(3, 4, 3),
            "norm": nn.LayerNorm(32),
            "skipped": nn.Linear(32, 32),
            "head": nn.Linear(32, 20, bias=False),
        }
    )
    model["head"].weight = model["embed"].weight
    with pytest.warns(UserWarning, match="head"):
        quanto.quantize(model, "qint8", exclude="skipped")
    reasons = {left.name: left.reason for left in quanto.explain(model).left_float}
    assert reasons == {
        "embed.weight": "not named by include",
        "attention.in_proj_weight": "MultiheadAttention has no quantized counterpart",
        "conv.weight": "Conv1d has no quantized counterpart",
        "skipped.weight": "not asked for",
        "head.weight": "shares its weight with embed.weight",
    }


def test_dtypes_without_a_kernel_are_noted():
    report = quanto.explain(frozen_model("qint8"), dtype=torch.float64)
    assert "no kernel takes torch.float64" in report.modules[0].notes[0]
    assert report.modules[0].kernels == ()


def test_the_string_is_a_table():
    model = frozen_model("qint4")
    model.append(nn.Embedding(3, 4))
    text = str(quanto.explain(model))
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["module", "qtype", "group"]
    assert lines[1].split()[:3] == ["0", "qint4", "16"]
    assert "3.weight (Embedding, 48 bytes) stays float" in text
    assert lines[-1].startswith("quantized: 2 modules, ")


def test_a_float_model_is_reported_too():
    report = quanto.explain(nn.Sequential(nn.Linear(3, 3)))
    assert report.modules == ()
    assert report.left_float[0].reason == "not asked for"
    assert "quantized: 0 modules" in str(report)


def several_modules():
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 16)
    )


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("activations", ["qint8", "qfloat8_e4m3fn"])
def test_activations_and_their_kernels(activations, dynamic):
    model = several_modules()
    quanto.quantize(model, "qint8", activations, dynamic=dynamic)
    report = {module.name: module for module in quanto.explain(model, rows=(5,)).modules}
    dtype = quanto.qtypes[activations].dtype
    linear, conv = report["3"], report["0"]
    assert linear.activations == f"{activations} {'dynamic' if dynamic else 'in, out'}"
    plan = library.plan(dtype, "qint8", 5, 8, 16, None, "none")
    assert (linear.kernels[0].kernel, linear.kernels[0].isa) == plan
    plan = library.plan_conv2d(dtype, "qint8", 5, (8, 2, 3, 3), (1, 1), 2, None, "none")
    assert (conv.kernels[0].kernel, conv.kernels[0].isa) == plan
    assert "M counts output pixels" in conv.notes
    if not dynamic:
        assert (report["2"].qtype, report["2"].activations) == ("none", f"{activations} out")
        assert report["2"].kernels == ()


def test_uncalibrated_modules_are_noted():
    def noted(model):
        found = quanto.explain(model).modules
        return [any("not calibrated" in note for note in module.notes) for module in found]

    model, x = several_modules(), torch.randn(2, 4, 3, 3)
    quanto.quantize(model, "qint8", "qint8")
    assert noted(model) == [True, True, True]
    with quanto.Calibration():
        model(x)
    assert noted(model) == [False, False, False]
    dynamic = several_modules()
    quanto.quantize(dynamic, "qint8", "qint8", dynamic=True)
    assert not any(noted(dynamic))


def test_an_embedding_decodes_and_multiplies_nothing():
    model = nn.Sequential(nn.Embedding(8, 32))
    quanto.quantize(model, "qint4", include="0")
    (module,) = quanto.explain(model).modules
    assert module.kernels == ()
    assert "decodes only the rows asked for" in module.notes


def test_the_projection_that_torch_attention_never_calls_is_said():
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2), "linear": nn.Linear(8, 8)})
    quanto.quantize(model, "int8")
    notes = {module.name: " ".join(module.notes) for module in quanto.explain(model).modules}
    assert "torch's attention reads its weight and never calls it" in notes["attention.out_proj"]
    assert "attention" not in notes["linear"]
