# SPDX-License-Identifier: Apache-2.0
"""The quantized Conv2d."""

import torch
from torch import nn
from torch.nn import functional as F

from .. import function
from ..qtype import qtype
from ..tensor.activations import ActivationQBytesTensor
from ..tensor.optimizers import Optimizer
from .activations import active_calibration, plain
from .codes import codes_of
from .qmodule import QModuleMixin, register_qmodule

_conv2d = torch.ops.quanto.conv2d.default


@register_qmodule(nn.Conv2d)
class QConv2d(QModuleMixin, nn.Conv2d):
    """`nn.Conv2d` with a quantized weight, one scale (or row of groups) per output channel.

    Dynamic activations have one scale for each image.
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
    ) -> "QConv2d":
        """A QConv2d of the same geometry, its weight not set."""
        assert isinstance(module, nn.Conv2d)
        return cls(
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            module.groups,
            module.bias is not None,
            module.padding_mode,
            dtype=module.weight.dtype,
            device=device,
            weights=weights,
            activations=activations,
            optimizer=optimizer,
            quantize_input=True,
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The convolution of (N, C, H, W) or (C, H, W), on the codes of the weight.

        The result is contiguous; quantized where the output is.
        """
        if self.activation_qtype is None:
            return self._convolved(plain(input), None, None)
        calibration = active_calibration()
        if calibration is not None:
            calibration.observe_input(self, input)
        elif not self._noticed:
            self.notice_uncalibrated()
        if isinstance(input, ActivationQBytesTensor):
            self.check_activation(input)
            scale: torch.Tensor | None = input._scale
        else:
            input = plain(input)
            scale = self.input_scale if self.quantizes_input and not self.dynamic else None
        quantized = scale is not None or self.quantizes_input
        kind = self.activation_qtype if quantized else None
        if calibration is not None:
            return calibration.observe_output(self, self._convolved(input, scale, kind))
        return self._convolved(input, scale, kind, self.quantizes_output)

    def _convolved(
        self,
        input: torch.Tensor,
        input_scale: torch.Tensor | None,
        kind: qtype | None,
        quantize_output: bool = False,
    ) -> torch.Tensor:
        """One operator call; through autograd only where a gradient is needed.

        `kind` is the type of the operator's activations, if they are quantized: codes of `input`,
        or by `input_scale`, or by a scale for each image where there is none.
        """
        input, padding = self._padded(input)
        codes = input._data if isinstance(input, ActivationQBytesTensor) else None
        weight, bias = self.weight, self.bias
        if codes is None:
            input, bias = _cast(input, bias, weight.dtype)
        data, scale, shift, bits, group_size = codes_of(self, weight)
        packing = (data, scale, shift, bias, bits, group_size, weight.shape)
        geometry = (self.stride, padding, self.dilation, self.groups)
        activation = None if kind is None else kind.dtype
        operand = input if codes is None else codes
        if torch.is_grad_enabled() and (
            input.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
        ):
            source = None if codes is None else input
            result = function.conv2d(
                operand, input_scale, *packing, *geometry, activation, weight=weight, source=source
            )
        else:
            fused = self.output_scale if quantize_output and kind is not None else None
            result = _conv2d(operand, input_scale, *packing, *geometry, activation, fused)
            if fused is not None:
                assert kind is not None
                fused = fused.to(result.device, scale.dtype if codes is not None else input.dtype)
                return ActivationQBytesTensor.of(kind, result, fused)
        return self.quantize_output(self, input, result) if quantize_output else result

    def _padded(self, input: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
        """The input, padded here where the operator cannot, and the zeros it still has to add."""
        if self.padding_mode == "zeros" and not isinstance(self.padding, str):
            return input, self.padding
        left, right, top, bottom = self._reversed_padding_repeated_twice
        if self.padding_mode == "zeros" and (left, top) == (right, bottom):
            return input, (top, left)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        # Quantized again under the scale they come with, these values give their own codes.
        return F.pad(plain(input), [left, right, top, bottom], mode=mode), (0, 0)


def _cast(
    input: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As `F.conv2d` does: cast under autocast, otherwise the dtypes must agree."""
    device = input.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        return input.to(dtype), None if bias is None else bias.to(dtype)
    if input.dtype != dtype:
        raise RuntimeError(
            f"conv2d: expected input of the weight's dtype {dtype}, got {input.dtype}"
        )
    return input, bias
