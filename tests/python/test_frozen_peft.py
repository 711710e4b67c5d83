"""Adapters on frozen modules: they train, and merging them is never lost."""

import pytest
import torch
from frozen_models import INPUT, every_scheme, frozen_model

from quanto import QTensor

peft = pytest.importorskip("peft", reason="peft is not installed")

# A merged adapter is quantized with the weight: at most half a step of its range per element.
STEPS = {"qint8": 127, "qfloat8": 8, "qint4": 15, "qint2": 3}


def adapted(scheme, **options):
    torch.manual_seed(2)
    config = peft.LoraConfig(r=4, target_modules=["0", "2"], **options)
    return peft.get_peft_model(frozen_model(scheme), config)


@every_scheme
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_adapter_trains(scheme, dora):
    expected = frozen_model(scheme)(INPUT)
    model = adapted(scheme, use_dora=dora)
    torch.testing.assert_close(model(INPUT), expected, rtol=1e-4, atol=1e-4)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert not any(isinstance(p, QTensor) for p in trained)
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(3):
        model(INPUT).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert model(INPUT).square().mean() < expected.square().mean()


@every_scheme
@pytest.mark.parametrize("safe", [False, True], ids=["merge", "safe_merge"])
def test_merging_keeps_the_adapter(scheme, safe):
    model = adapted(scheme, init_lora_weights=False).eval()
    layer = model.base_model.model[0]
    wanted = layer.base_layer.weight.dequantize() + layer.get_delta_weight("default").detach()
    before = layer.base_layer.weight.dequantize()
    merged = model.merge_and_unload(safe_merge=safe)
    weight = merged[0].weight
    assert isinstance(weight, QTensor)
    error = (weight.dequantize() - wanted).abs().amax()
    change = (before - wanted).abs().amax()
    span = wanted.amax() - wanted.amin() if scheme in ("qint4", "qint2") else wanted.abs().amax()
    assert error <= span / STEPS[scheme]
    assert (weight.dequantize() - before).abs().amax() > change / 2


@every_scheme
def test_merging_and_unmerging_through_the_layer(scheme):
    model = adapted(scheme, init_lora_weights=False).eval()
    layer = model.base_model.model[0]
    before = layer.base_layer.weight.dequantize()
    layer.merge()
    assert not torch.equal(layer.base_layer.weight.dequantize(), before)
    layer.unmerge()
    span = before.amax() - before.amin()
    assert (layer.base_layer.weight.dequantize() - before).abs().amax() <= 4 * span / STEPS[scheme]
