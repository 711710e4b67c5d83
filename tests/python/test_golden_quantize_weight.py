"""Scales, codes and dequantized weights against optimum-quanto's, by the operators."""

import golden
import pytest
import torch
from tolerances import HQQ_OBJECTIVE, SCALE_ULPS, ulps

from quanto import library, qtypes


class Recipe:
    """The arguments of one golden case."""

    def __init__(self, case: golden.Case) -> None:
        self.case = case
        self.base = case.inputs["base"]
        self.qtype = qtypes[case.params["qtype"]]
        self.axis = case.params["axis"]
        self.group_size = case.params["group_size"]
        self.optimizer = case.params["optimizer"]
        self.zeropoint = case.params.get("zeropoint", False)
        if self.qtype.bits == 8 and self.base.shape[self.axis] == 1:
            self.axis = None  # one index is quantized per tensor

    def scales(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.optimizer is None:
            return self.case.outputs["scale"], self.case.outputs.get("shift")
        if self.optimizer == "absmax":
            return library.absmax_scale(self.base, self.qtype.name, self.axis), None
        search = library.hqq_scale if self.optimizer == "hqq" else library.max_scale
        return search(self.base, self.qtype.bits, self.axis, self.group_size, self.zeropoint)

    def codes(self, scale: torch.Tensor, shift: torch.Tensor | None) -> torch.Tensor:
        if shift is None:
            return library.quantize_symmetric(self.base, self.qtype.dtype, self.axis, scale)
        return library.quantize_affine(
            self.base, self.qtype.bits, self.axis, self.group_size, scale, shift
        )

    def dequantize(
        self, codes: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor | None
    ) -> torch.Tensor:
        if shift is None:
            return library.dequantize_symmetric(codes, self.axis, scale)
        packed = library.pack(codes, self.qtype.bits)
        size = list(self.base.shape)
        return library.dequantize_affine(
            packed, self.qtype.bits, self.axis, self.group_size, size, scale, shift
        )

    def golden_codes(self) -> torch.Tensor:
        if self.qtype.bits == 8:
            return self.case.outputs["data"]
        rows = self.codes(self.case.outputs["scale"], self.case.outputs["shift"]).shape[0]
        return library.unpack(self.case.outputs["packed"], self.qtype.bits)[:rows]


def test_every_case_runs() -> None:
    assert len(golden.cases("quantize_weight")) == 340


@golden.every("quantize_weight")
def test_quantize_weight(case: golden.Case) -> None:
    recipe = Recipe(case)
    if case.raises is not None:
        with pytest.raises(ValueError, match=r"^\w+: expected .*, got "):
            recipe.scales()
        return
    scale, shift = recipe.scales()
    golden_scale, golden_shift = case.outputs["scale"], case.outputs.get("shift")
    assert scale.shape == golden_scale.shape
    assert ulps(scale, golden_scale) <= SCALE_ULPS
    if recipe.optimizer == "hqq":
        check_objective(recipe, scale, shift)
    elif shift is not None and shift.is_floating_point():
        assert ulps(shift, golden_shift) <= SCALE_ULPS
    elif shift is not None:
        assert torch.equal(shift, golden_shift)
    check_codes(recipe, golden_scale, golden_shift)


def check_objective(recipe: Recipe, scale: torch.Tensor, shift: torch.Tensor | None) -> None:
    ours = recipe.dequantize(recipe.codes(scale, shift), scale, shift)
    error = (recipe.base.double() - ours.double()).abs().mean()
    golden_error = (recipe.base.double() - recipe.case.outputs["dequantized"].double()).abs().mean()
    assert error <= HQQ_OBJECTIVE * golden_error


def check_codes(
    recipe: Recipe,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    undefined: torch.Tensor | None = None,
) -> None:
    """From the golden scale everything is exact, ties included."""
    codes, expected = recipe.codes(scale, shift), recipe.golden_codes()
    # Codes under a zero scale come from 0 / 0 in the original.
    defined = (scale != 0).expand_as(codes) & scale.isfinite()
    assert torch.equal(codes.float()[defined], expected.float()[defined])
    ours, theirs = recipe.dequantize(codes, scale, shift), recipe.case.outputs["dequantized"]
    if undefined is not None:
        ours, theirs = ours[~undefined], theirs[~undefined]
    assert torch.equal(ours, theirs)


def deviating(expected: str) -> pytest.MarkDecorator:
    return golden.every("quantize_weight", expected=expected)


@deviating("canonical")
def test_canonical_layout_instead_of_a_kernel_layout(case: golden.Case) -> None:
    recipe = Recipe(case)
    scale, shift = recipe.scales()
    ours = recipe.dequantize(recipe.codes(scale, shift), scale, shift)
    error = (recipe.base.double() - ours.double()).abs().mean()
    lossy = (recipe.base.double() - case.outputs["dequantized"].double()).abs().mean()
    assert error <= lossy
    assert ulps(scale, case.outputs["state_dict_scale"]) <= SCALE_ULPS


@deviating("zeros")
def test_zeros_under_a_zero_scale(case: golden.Case) -> None:
    recipe = Recipe(case)
    scale, _ = recipe.scales()
    assert ulps(scale, case.outputs["scale"]) <= SCALE_ULPS
    ours = recipe.dequantize(recipe.codes(scale, None), scale, None)
    undefined = case.outputs["dequantized"].isnan()
    assert undefined.any()
    assert not ours[(scale == 0).expand_as(ours)].any()
    check_codes(recipe, case.outputs["scale"], None, undefined=undefined)


@deviating("ValueError")
def test_a_range_that_overflows_is_refused(case: golden.Case) -> None:
    recipe = Recipe(case)
    with pytest.raises(ValueError, match="expected a range that float16 can hold, got "):
        recipe.scales()
    overflow = ~case.outputs["dequantized"].isfinite()
    scale, shift = case.outputs["scale"], case.outputs["shift"]
    assert scale.isinf().any()
    check_codes(recipe, scale, shift, undefined=overflow)


@deviating("one scale")
def test_one_output_has_one_scale(case: golden.Case) -> None:
    recipe = Recipe(case)
    scale, shift = recipe.scales()
    assert scale.shape == shift.shape == (1, 1)
    assert case.outputs["scale"].shape == (1, 64)
    ours = recipe.dequantize(recipe.codes(scale, shift), scale, shift)
    half_step = scale.double() / 2
    assert ((ours.double() - recipe.base.double()).abs() <= half_step * (1 + 1e-6)).all()
