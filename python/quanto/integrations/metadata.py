# SPDX-License-Identifier: Apache-2.0
"""What the safetensors files of a quantized model say of themselves: see docs/formats.md."""

import json
from typing import Any

import torch
from torch import nn

from ..nn.qmodule import QModuleMixin
from ..tensor.qbits import QBitsTensor
from ..tensor.qtensor import QTensor
from .settings import FORMAT_VERSION


def file_metadata(model: nn.Module | None) -> dict[str, str]:
    """The metadata of the files that hold this model, beside the `format` that their library sets.

    Every file of a sharded model gets the entries of all: each says what it needs, and more.
    """
    metadata = {"quanto_format_version": str(FORMAT_VERSION)}
    if model is not None:
        metadata["quanto_weights"] = _weights_text(model)
    return metadata


def _weights_text(model: nn.Module) -> str:
    """What the command line writes of the same weights, to the byte."""
    weights = {
        name: _description(module.weight)
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, QModuleMixin) and isinstance(module.weight, QTensor)
    }
    return json.dumps(
        dict(sorted(weights.items())), separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _description(weight: QTensor) -> dict[str, Any]:
    bits = weight if isinstance(weight, QBitsTensor) else None
    return {
        "qtype": weight.qtype.name,
        "axis": 0,
        "group_size": None if bits is None else bits.group_size,
        "shape": list(weight.shape),
        "shift": "none" if bits is None else _shift_kind(bits._shift),
        "packing": "none" if bits is None else "rows",
    }


def _shift_kind(shift: torch.Tensor) -> str:
    return "float" if shift.dtype.is_floating_point else "integer"
