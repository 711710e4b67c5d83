# SPDX-License-Identifier: Apache-2.0
"""The quantized Linear."""

import torch
from torch import nn

from ..qtype import qtype
from ..tensor.activations import ActivationQBytesTensor
from ..tensor.optimizers import Optimizer
from ..tensor.weights.linear import linear, needs_gradient, qlinear, under_autocast
from ..tensor.weights.weight import Operands, WeightQTensor
from .activations import active_calibration, plain, scale_like
from .qmodule import QModuleMixin, register_qmodule


@register_qmodule(nn.Linear)
class QLinear(QModuleMixin, nn.Linear):
    """`nn.Linear` with a quantized weight, one scale (or row of groups) per output feature.

    With activations, input and output are quantized inside the one operator that a call runs.
    """

    handles_activations = True

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
        bias = parameters["bias"]
        if self.activation_qtype is None:
            if isinstance(weight, WeightQTensor):
                return weight.linear(input, bias)
            return linear(input, *self._operands(weight, bias), weight)
        return self._with_activations(input, weight, bias)

    def _operands(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Operands:
        """What the operator takes beside the input."""
        if isinstance(weight, WeightQTensor):
            return weight.operands(bias)
        data, scale, shift = self.codes(weight.detach())
        assert self.weight_qtype is not None
        bits, group_size = self.weight_qtype.bits, self.weight_group_size
        return data, scale, shift, bias, bits, group_size, self.out_features

    def _with_activations(
        self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if active_calibration() is not None:
            return self._calibrated(input, weight, bias)
        if not self._noticed:
            self.notice_uncalibrated()
        operands, kind = self._operands(weight, bias), self.activation_qtype
        assert kind is not None
        if type(input) is not torch.Tensor and isinstance(input, ActivationQBytesTensor):
            self.check_activation(input)
        elif not self.quantizes_input:
            output = linear(input, *operands, weight)
            return self.quantize_output(self, input, output) if self.quantizes_output else output
        else:
            input = plain(input)
        input_scale = None if self.dynamic else self._buffers["input_scale"]
        quantizes_output = self.quantizes_output
        if not quantizes_output or under_autocast(input) or needs_gradient(input, bias, weight):
            output = qlinear(input, input_scale, *operands, kind.dtype, weight=weight)
            return self.quantize_output(self, input, output) if quantizes_output else output
        scale = self._buffers["output_scale"]
        assert scale is not None
        scale = scale_like(scale, operands[1])
        codes = qlinear(input, input_scale, *operands, kind.dtype, scale)
        return ActivationQBytesTensor.of(kind, codes, scale)

    def _calibrated(
        self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """The steps one by one, each seen by the calibration that runs."""
        input = self.activation_in(input) if not self.dynamic else plain(input)
        operands = self._operands(weight, bias)
        if self.dynamic:
            assert self.activation_qtype is not None
            return qlinear(input, None, *operands, self.activation_qtype.dtype, weight=weight)
        return self.activation_out(linear(input, *operands, weight))
