# SPDX-License-Identifier: Apache-2.0
"""Modules of every scheme in one model: one package holds them all, as each costs a compilation."""

from collections.abc import Callable

import torch
from torch import nn

import quanto
from quanto.tensor.weights import WeightQBitsTensor

FEATURES = 96
TAIL = 40
"""Features that neither vectors nor the automatic group sizes divide."""
LARGE = 1 << 16
"""Outputs of a layer that is large beside the code of a package."""

WEIGHTS = [
    ("qint8", TAIL, None),
    ("qfloat8_e4m3fn", TAIL, None),
    ("qfloat8_e5m2", TAIL, None),
    ("qfloat8_e4m3fnuz", TAIL, None),
    ("qint4", FEATURES, None),
    ("qint4", TAIL, 8),
    ("qint4", TAIL, None),
    ("qint2", FEATURES, 32),
    ("qint2", TAIL, 20),
]


class Zoo(nn.Module):
    """Runs each part on the input that it takes: floats, token ids or an image."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(
        self, x: torch.Tensor, ids: torch.Tensor, image: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        results = []
        for name, part in self.parts.items():
            kind = name.split("-")[0]
            value = ids if kind == "embedding" else image if kind == "conv" else x
            result = part(value[..., :TAIL] if kind == "tail" else value)
            results.append(result.dequantize() if isinstance(result, quanto.QTensor) else result)
        return tuple(results)


class Scores(nn.Module):
    """A product of two quantized activations."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(FEATURES, 16)
        self.key = nn.Linear(FEATURES, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(torch.relu(self.query(x)), self.key(x).transpose(-1, -2))


def inputs(rows: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 3, FEATURES, generator=generator)
    ids = torch.randint(0, 50, (rows, 7), generator=generator)
    image = torch.randn(rows, 3, 8, 8, generator=generator)
    return x.to(dtype), ids, image.to(dtype)


def linear(features: int = FEATURES, outputs: int = 17) -> nn.Module:
    return nn.Sequential(nn.Linear(features, outputs))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, groups=8)
    )


def embedding() -> nn.Module:
    return nn.Sequential(nn.Embedding(50, FEATURES), nn.Linear(FEATURES, 17))


def norm() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 17), nn.LayerNorm(17))


def zero_point() -> nn.Module:
    """A weight whose shift is an integer code."""
    module = linear()
    quanto.quantize(module, "qint4", group_size=32)
    weight = module[0].weight.detach()
    scale, shift = quanto.MaxOptimizer()(weight, quanto.qint4, 0, 32, zeropoint=True)
    assert shift.dtype == torch.uint8
    quantized = WeightQBitsTensor.quantize(weight, quanto.qint4, 0, 32, scale, shift)
    module[0].weight = nn.Parameter(quantized, requires_grad=False)
    return module


def zoo(dtype: torch.dtype) -> Zoo:
    """Frozen parts by name; what stands before the first dash says which input they take."""
    torch.manual_seed(0)
    parts: dict[str, nn.Module] = {"zero_point": zero_point().to(dtype)}

    def add(name: str, make: Callable[[], nn.Module], streamline: bool = True, **scheme) -> None:
        part = make().to(dtype)
        quanto.quantize(part, **scheme)
        if "activations" in scheme and not scheme.get("dynamic"):
            value = inputs(4, dtype)[2 if name.startswith("conv") else 0]
            with torch.no_grad(), quanto.Calibration(streamline=streamline):
                part(value)
        parts[name] = part

    for weights, features, group_size in WEIGHTS:
        name = "tail" if features == TAIL else "linear"
        of = f"{weights}-{group_size}"
        add(f"{name}-{of}", lambda n=features: linear(n), weights=weights, group_size=group_size)
    add("large", lambda: linear(outputs=LARGE), weights="qint4")
    add("linear-hqq", linear, weights="qint2", optimizer=quanto.HqqOptimizer())
    for activations in ("qint8", "qfloat8_e4m3fn", "qfloat8_e5m2", "qfloat8_e4m3fnuz"):
        scheme = {"weights": "qint8", "activations": activations}
        add(f"static-{activations}", linear, **scheme)
        add(f"dynamic-{activations}", linear, dynamic=True, **scheme)
        add(f"codes-{activations}", linear, streamline=False, **scheme)
    add("conv-qint4", conv, weights="qint4")
    add("conv-static", conv, weights="qint8", activations="qint8")
    add("conv-dynamic", conv, weights="qint2", activations="qint8", dynamic=True)
    add("embedding", embedding, weights="qint4", include=["0", "1"])
    add("scores", Scores, weights="qint8", activations="qint8")
    add("norm", norm, streamline=False, weights="qint8", activations="qint8")
    model = Zoo(parts).eval()
    quanto.freeze(model)
    return model
