# SPDX-License-Identifier: Apache-2.0
"""The LayerNorm with a quantized output."""

from typing import Any

import torch
from torch import nn

from ..qtype import qtype
from ..tensor.optimizers import Optimizer
from .activations import plain
from .qmodule import QModuleMixin, register_qmodule


@register_qmodule(nn.LayerNorm)
class QLayerNorm(QModuleMixin, nn.LayerNorm):  # type: ignore[misc]  # its weight may be None
    """`nn.LayerNorm` whose output is quantized; its weight and its input never are.

    There is one only for static activations: without them, and with dynamic ones, whose outputs
    stay float, nothing would differ from the LayerNorm.
    """

    handles_activations = True
    quantizes_weight = False

    @classmethod
    def applies(cls, activations: qtype | str | None, dynamic: bool) -> bool:
        """Whether there is anything to quantize."""
        return activations is not None and not dynamic

    @classmethod
    def qcreate(
        cls,
        module: nn.Module,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        optimizer: Optimizer | None = None,
        device: torch.device | str | None = None,
    ) -> "QLayerNorm":
        """A QLayerNorm of the same shape, its weight not set; `weights` are never quantized."""
        assert isinstance(module, nn.LayerNorm)
        return cls(
            module.normalized_shape,
            module.eps,
            module.elementwise_affine,
            module.bias is not None,
            dtype=None if module.weight is None else module.weight.dtype,
            device=device,
            activations=activations,
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The normalized input, quantized where the output is."""
        values = plain(self.activation_in(input))
        return self.activation_out(super().forward(values))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # The predecessor stores None for a weight that is not there.
        given = {key: tensor for key, tensor in state_dict.items() if tensor is not None}
        super()._load_from_state_dict(given, prefix, *args, **kwargs)
