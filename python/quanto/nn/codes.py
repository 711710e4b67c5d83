# SPDX-License-Identifier: Apache-2.0
"""What an operator takes of a quantized module's weight."""

from typing import TYPE_CHECKING

import torch

from ..tensor.weights import WeightQBitsTensor, WeightQBytesTensor

if TYPE_CHECKING:
    from .qmodule import QModuleMixin

Codes = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, int, int | None]


def codes_of(module: "QModuleMixin", weight: torch.Tensor) -> Codes:
    """Data, scale, shift, bits and group size of the weight, quantized now unless it is frozen."""
    kind = module.weight_qtype
    assert kind is not None
    if isinstance(weight, WeightQBytesTensor):
        return weight._data, weight._scale, None, kind.bits, None
    if isinstance(weight, WeightQBitsTensor):
        return weight._data._data, weight._scale, weight._shift, kind.bits, weight._group_size
    return *module.codes(weight.detach()), kind.bits, module.weight_group_size
