# SPDX-License-Identifier: Apache-2.0
"""Calibration against optimum-quanto's: scales after every batch, results, what stays quantized."""

import golden
import pytest
import torch
from golden_models import golden_model
from tolerances import CALIBRATION_OUTPUT, CALIBRATION_ULPS, ulps
from torch import nn

import quanto

SIDES = ("input_scale", "output_scale")


def quantized(case):
    model = golden_model(case)
    quanto.quantize(model, case.params["weights"], case.params["activations"])
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.quantizes_input = False  # as in the library
    return model


def qmodules(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, quanto.QModuleMixin)}


def plain(t):
    return t.dequantize() if isinstance(t, quanto.QTensor) else t


def close(mine, theirs):
    error = (mine.double() - theirs.double()).abs().max()
    assert error <= CALIBRATION_OUTPUT[mine.dtype] * theirs.abs().max()


def calibration(case):
    return quanto.Calibration(
        momentum=case.params["momentum"], streamline=case.params["streamline"]
    )


def scales_agree(mine, theirs):
    return ulps(mine, theirs) <= CALIBRATION_ULPS[mine.dtype]


def check_scales(case, model, batch):
    for name, module in qmodules(model).items():
        for side in SIDES:
            expected = case.outputs[f"scales.{batch}.{name}.{side}"]
            assert scales_agree(getattr(module, side), expected), (name, side, batch)


@golden.every("calibration")
@torch.no_grad()
def test_scales_and_results(case):
    model = quantized(case)
    with calibration(case):
        for batch, x in enumerate(case.inputs["batches"], 1):
            close(plain(model(x)), case.outputs[f"calibration_output.{batch}"])
            check_scales(case, model, batch)
    found = {name: module.quantizes_output for name, module in qmodules(model).items()}
    assert found == case.raw["output_quantization"]
    quanto.freeze(model)
    result = model(case.inputs["test"])
    if "output_data_test" in case.outputs:
        # No value lies near enough to a tie for another order of summation to change its code.
        assert torch.equal(result._data.float(), case.outputs["output_data_test"].float())
    close(plain(result), case.outputs["output_test"])


@golden.every("calibration")
@torch.no_grad()
def test_state_dict_and_map(case):
    model = quantized(case)
    with calibration(case):
        for x in case.inputs["batches"]:
            model(x)
    quanto.freeze(model)
    expected = {k.removeprefix("state."): v for k, v in case.outputs.items() if "state." in k}
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for name in SIDES:
        for key in (key for key in state if key.endswith(name)):
            assert scales_agree(state[key], expected[key])
    theirs = case.raw["quantization_map"]
    mine = quanto.quantization_map(model)
    assert {n: {k: e[k] for k in theirs[n]} for n, e in mine.items()} == theirs


class InputScales:
    """The scales of inputs that a momentum gives, from what the modules are called with."""

    def __init__(self, model, qtype, momentum):
        self.qtype, self.momentum, self.found = qtype, momentum, {}
        for name, module in qmodules(model).items():
            module.register_forward_pre_hook(lambda m, args, name=name: self.see(name, args[0]))

    def see(self, name, x):
        if isinstance(x, quanto.QTensor):
            self.found[name] = x._scale
            return
        new = x.abs().max() / self.qtype.qmax
        old = self.found.get(name)
        self.found[name] = new if old is None else self.momentum * old + (1 - self.momentum) * new


@golden.every("calibration", expected="momentum of inputs")
@torch.no_grad()
def test_momentum_of_inputs(case):
    model = quantized(case)
    qtype = quanto.qtypes[case.params["activations"]]
    expected = InputScales(model, qtype, case.params["momentum"])
    with calibration(case):
        for batch, x in enumerate(case.inputs["batches"], 1):
            model(x)
            for name, module in qmodules(model).items():
                torch.testing.assert_close(module.input_scale, expected.found[name])
            if batch == 1:
                check_scales(case, model, batch)
    first = next(iter(qmodules(model)))
    theirs = case.outputs[f"scales.4.{first}.output_scale"]
    if case.params["model"] != "mlp":  # the first layer's input is not quantized
        assert scales_agree(qmodules(model)[first].output_scale, theirs)
    found = {name: module.quantizes_output for name, module in qmodules(model).items()}
    assert found == case.raw["output_quantization"]


def test_momentum_is_checked():
    with pytest.raises(ValueError, match=r"expected momentum from 0 to 1, got 1\.5"):
        quanto.Calibration(momentum=1.5)
