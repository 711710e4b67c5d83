# SPDX-License-Identifier: Apache-2.0
"""Writes the table of cases that the C++ SDK must repeat bit for bit: `make_cases.py OUT`.

Each case is one layer (or a small model), run as a user would: quantized, calibrated, trained by
one backward pass, frozen. The results are Python's, of the same operators on the same machine.
`cpp/quanto/nn/parity_test.cc` reads the table.
"""

import itertools
import sys
from typing import Any

import torch
from torch import nn

import quanto

Case = dict[str, Any]

_GROUPS = {"qint8": (None,), "qfloat8_e4m3fn": (None,), "qint4": (None, 16), "qint2": (48,)}
_ACTIVATIONS = ((None, False), ("qint8", False), ("qint8", True), ("qfloat8_e4m3fn", False))


def _layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Layers by kind, and the shape of their input."""
    return {
        "Linear": (nn.Linear(96, 12), (5, 96)),
        "Conv2d": (nn.Conv2d(16, 6, 3, stride=2, padding=1), (2, 16, 7, 7)),
        "LayerNorm": (nn.LayerNorm(32), (3, 32)),
        "Embedding": (nn.Embedding(10, 96, padding_idx=3), (7,)),
    }


def _combinations(kind: str) -> list[tuple[str | None, int | None, str | None, bool]]:
    if kind == "LayerNorm":
        return [(None, None, "qint8", False), (None, None, "qfloat8_e4m3fn", False)]
    weights = [(name, group) for name, groups in _GROUPS.items() for group in groups]
    activations = _ACTIVATIONS[:1] if kind == "Embedding" else _ACTIVATIONS
    return [(*weight, *act) for weight, act in itertools.product(weights, activations)]


def _input(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    if kind == "Embedding":
        return torch.randint(0, 10, shape)
    return torch.randn(shape).to(dtype)


def _dense(result: torch.Tensor) -> torch.Tensor:
    return result.dequantize() if isinstance(result, quanto.QTensor) else result


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().view(torch.uint8)


def _frozen(layer: nn.Module) -> Case:
    """The tensors of the layer's state dict, codes as bytes."""
    state = layer.state_dict()
    return {
        name: _bytes(tensor) if "_data" in name else tensor.float()
        for name, tensor in state.items()
        if name.startswith("weight.")
    }


def _trained(model: nn.Module, x: torch.Tensor) -> Case:
    """One forward and backward pass of a model that is not frozen."""
    if x.is_floating_point():
        x = x.clone().requires_grad_()
    result = _dense(model(x))
    gradient = torch.randn(result.shape).to(result.dtype)
    result.backward(gradient)
    grads = {name: p.grad.float() for name, p in model.named_parameters() if p.grad is not None}
    if x.grad is not None:
        grads["input"] = x.grad.float()
    return {"result": result.detach().float(), "gradient": gradient.float(), "gradients": grads}


def _case(kind: str, dtype: torch.dtype, options: tuple[Any, ...]) -> Case:
    weights, group_size, activations, dynamic = options
    torch.manual_seed(0)
    layer, shape = _layers()[kind]
    model = nn.Sequential(layer).to(dtype)
    parameters = {name: p.detach().float().clone() for name, p in layer.named_parameters()}
    quanto.quantize(
        model,
        weights,
        activations,
        include="0",
        group_size=group_size,
        dynamic=dynamic,
    )
    batches = [_input(kind, shape, dtype) for _ in range(3)]
    if activations is not None and not dynamic:
        with quanto.Calibration(streamline=False):
            for batch in batches:
                model(batch)
    x = _input(kind, shape, dtype)
    case = {
        "name": "-".join(map(str, (kind, str(dtype)[6:], *options))),
        "kind": kind,
        "bfloat16": dtype == torch.bfloat16,
        "weights": weights or "",
        "group_size": group_size or 0,
        "activations": activations or "",
        "dynamic": dynamic,
        "parameters": parameters,
        "batches": [batch.float() if batch.is_floating_point() else batch for batch in batches],
        "x": x.float() if x.is_floating_point() else x,
        "input_scale": model[0].input_scale.float(),
        "output_scale": model[0].output_scale.float(),
        "trained": _trained(model, x),
    }
    quanto.freeze(model)
    with torch.no_grad():
        case["frozen"] = {"result": _dense(model(x)).float(), "state": _frozen(model[0])}
    return case


def _model_case() -> Case:
    """A model of several layers, one of which hands its codes to the next, under streamline."""
    torch.manual_seed(0)
    layers = (nn.Linear(64, 48), nn.GELU(), nn.LayerNorm(48), nn.Linear(48, 8))
    model = nn.Sequential(*layers)
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    quanto.quantize(model, "qint8", "qint8")
    batches = [torch.randn(4, 64) for _ in range(3)]
    with quanto.Calibration():
        for batch in batches:
            model(batch)
    quanto.freeze(model)
    scales = {
        name: buffer for name, buffer in model.named_buffers() if name.endswith(("put_scale",))
    }
    x = torch.randn(4, 64)
    with torch.no_grad():
        result = _dense(model(x))
    return {
        "parameters": parameters,
        "batches": batches,
        "scales": scales,
        "x": x,
        "result": result,
    }


def main(path: str) -> None:
    """Write the table."""
    torch.set_num_threads(1)
    cases = [
        _case(kind, dtype, options)
        for kind in _layers()
        for dtype in (torch.float32, torch.bfloat16)
        for options in _combinations(kind)
    ]
    torch.save({"layers": cases, "model": _model_case()}, path)


if __name__ == "__main__":
    main(sys.argv[1])
