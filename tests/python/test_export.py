# SPDX-License-Identifier: Apache-2.0
"""Functions on quantized tensors inside a model that torch.export traces."""

import pytest
import torch
from frozen_models import INPUT, every_scheme, frozen_model
from torch import nn
from torch.nn import functional as F

import quanto

every_way = pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])
every_activation = pytest.mark.parametrize("activations", ["qint8", "qfloat8"])

ROWS = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(7))


class OnCodes(nn.Module):
    """Views, products and float functions of activations that stay quantized."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        a, b = self.a(x), self.b(x)
        heads = a.view(*a.shape[:2], 4, 8).transpose(1, 2)
        keys = b.reshape(*b.shape[:2], 4, 8).permute(0, 2, 3, 1)
        scores = torch.matmul(heads, keys) * 0.5
        attended = F.scaled_dot_product_attention(heads, heads, heads)
        part = F.gelu(torch.relu(a)[..., :8] + 1) - a[..., 8:16]
        joined = F.relu(torch.cat([part, part], -1), inplace=True)
        return scores, attended, joined, torch.stack([a, a]).mean(), F.dropout(a, training=False)


class Plain(nn.Module):
    """The last result as plain values."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = OnCodes()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *rest, last = self.inner(x)
        return (*rest, last.dequantize())


def calibrated(model: nn.Module, activations: str) -> nn.Module:
    quanto.quantize(model, weights="qint8", activations=activations)
    with torch.no_grad(), quanto.Calibration(streamline=False):
        model(ROWS)
    quanto.freeze(model)
    return model.eval()


def exported(model: nn.Module, x: torch.Tensor, strict: bool) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(model, (x,), dynamic_shapes=({0: batch},), strict=strict)


@every_way
@every_activation
@pytest.mark.parametrize("gradients", [False, True], ids=["no_grad", "grad"])
def test_functions_on_codes_are_recorded(strict: bool, activations: str, gradients: bool) -> None:
    torch.manual_seed(0)
    model = calibrated(Plain(), activations)
    with torch.set_grad_enabled(gradients):
        program = exported(model, ROWS, strict)
        x = torch.randn(5, 5, 32)
        results, expected = program.module()(x), model(x)
    for mine, theirs in zip(results, expected, strict=True):
        assert torch.equal(mine, theirs)
    if not (gradients and strict):  # there they stand in graphs of their own
        targets = [str(node.target) for node in program.graph.nodes]
        assert targets.count("quanto.qlinear.default") == 2


@every_way
def test_a_quantized_result_is_refused(strict: bool) -> None:
    model = calibrated(OnCodes(), "qint8")
    with pytest.raises(ValueError, match=r"expected plain results, got codes of qint8: call deq"):
        exported(model, ROWS, strict)
    assert isinstance(model(ROWS)[-1], quanto.ActivationQBytesTensor)


class OnWeight(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weight = self.layer.weight
        return F.linear(x, weight, self.layer.bias), x @ weight.t() + weight.sum()


@every_way
@every_scheme
def test_functions_on_a_weight_are_recorded(scheme: str, strict: bool) -> None:
    model = OnWeight(frozen_model(scheme)[0]).eval()
    with torch.no_grad():
        results, expected = exported(model, INPUT, strict).module()(INPUT), model(INPUT)
    for mine, theirs in zip(results, expected, strict=True):
        assert torch.equal(mine, theirs)
