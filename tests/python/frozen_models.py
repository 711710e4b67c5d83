"""The small frozen models that the tests of their behaviour share."""

import pytest
import torch
from torch import nn

import quanto

SCHEMES = {"qint8": None, "qfloat8": None, "qint4": 16, "qint2": None}
every_scheme = pytest.mark.parametrize("scheme", list(SCHEMES))

INPUT = torch.randn(4, 32, generator=torch.Generator().manual_seed(5))


def float_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))


def unfrozen_model(scheme: str, seed: int = 0) -> nn.Sequential:
    model = float_model(seed)
    quanto.quantize(model, weights=scheme, group_size=SCHEMES[scheme])
    return model


def frozen_model(scheme: str, seed: int = 0) -> nn.Sequential:
    model = unfrozen_model(scheme, seed)
    quanto.freeze(model)
    return model


def inner_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """The plain tensors of a frozen module's weight, by their names in a state dict."""
    found: dict[str, torch.Tensor] = {}
    module.weight.save_to_state_dict(found, "weight.", keep_vars=True)
    return found


def codes(module: nn.Module) -> torch.Tensor:
    return next(iter(inner_tensors(module).values()))


def dense_model(model: nn.Sequential) -> nn.Sequential:
    """The float model with the values of the quantized weights."""
    dense = float_model()
    for mine, theirs in zip(dense, model, strict=True):
        if isinstance(mine, nn.Linear):
            mine.weight.data = theirs.weight.dequantize().to(mine.weight.dtype)
            mine.bias.data = theirs.bias.detach().clone()
    return dense
