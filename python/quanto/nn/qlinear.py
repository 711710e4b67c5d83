"""The quantized Linear."""

import torch
from torch import nn

from ..qtype import qtype
from ..tensor.optimizers import Optimizer
from ..tensor.weights.linear import linear
from ..tensor.weights.weight import WeightQTensor
from .qmodule import QModuleMixin, register_qmodule


@register_qmodule(nn.Linear)
class QLinear(QModuleMixin, nn.Linear):
    """`nn.Linear` with a quantized weight, one scale (or row of groups) per output feature."""

    @classmethod
    def qcreate(
        cls,
        module: nn.Module,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        optimizer: Optimizer | None = None,
        device: torch.device | str | None = None,
    ) -> "QLinear":
        """A QLinear of the same features, its weight not set."""
        assert isinstance(module, nn.Linear)
        return cls(
            module.in_features,
            module.out_features,
            module.bias is not None,
            dtype=module.weight.dtype,
            device=device,
            weights=weights,
            activations=activations,
            optimizer=optimizer,
            quantize_input=True,
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """`input @ weight.T + bias` with the quantized weight, in one operator."""
        parameters = self._parameters
        weight: torch.Tensor | None = parameters.get("weight")
        if weight is None:  # parametrized: a property of the class
            weight = self.weight
        if isinstance(weight, WeightQTensor):
            return weight.linear(input, parameters["bias"])
        qtype, group_size = self.weight_qtype, self.weight_group_size
        data, scale, shift = self.codes(weight.detach())
        trained = weight if weight.requires_grad else None
        bits, features = qtype.bits, self.out_features
        return linear(
            input, data, scale, shift, parameters["bias"], bits, group_size, features, trained
        )
