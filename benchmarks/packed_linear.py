# SPDX-License-Identifier: Apache-2.0
"""Linears over torch's own products of packed weights, and one that does nothing."""

import torch
from torch import nn


class Int8Pack(nn.Module):
    """torch._weight_int8pack_mm: int8, one scale per output."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scale = weight.abs().amax(1) / 127
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = layer.bias
        self.shape = (layer.out_features,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x @ weight.T + bias."""
        rows = x.reshape(-1, x.shape[-1])
        y = torch._weight_int8pack_mm(rows, self.weight, self.scale)
        y = y.view(*x.shape[:-1], *self.shape)
        return y if self.bias is None else y + self.bias


class Int4Pack(nn.Module):
    """torch._weight_int4pack_mm_for_cpu: 4 bits, a scale and a zero per group."""

    def __init__(self, layer: nn.Linear, group_size: int) -> None:
        super().__init__()
        weight = layer.weight.detach()
        groups = weight.float().unflatten(1, (-1, group_size))
        low, high = groups.amin(2), groups.amax(2)
        scale = (high - low).clamp(min=1e-6) / 15
        codes = ((groups - low[..., None]) / scale[..., None]).round().clamp(0, 15)
        zero = low + 8 * scale  # w = (code - 8) * scale + zero
        packed = torch._convert_weight_to_int4pack_for_cpu(codes.flatten(1).int(), 1)
        self.register_buffer("weight", packed)
        facts = torch.stack([scale.T, zero.T], dim=2).to(weight.dtype).contiguous()
        self.register_buffer("scale_and_zero", facts)
        self.bias = layer.bias
        self.group_size = group_size
        self.shape = (layer.out_features,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x @ weight.T + bias."""
        rows = x.reshape(-1, x.shape[-1])
        y = torch._weight_int4pack_mm_for_cpu(
            rows, self.weight, self.group_size, self.scale_and_zero
        )
        y = y.view(*x.shape[:-1], *self.shape)
        return y if self.bias is None else y + self.bias


class NoLinear(nn.Module):
    """Zeros of the right shape: what is left of a model's time is not Linear."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.outputs = layer.out_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Zeros."""
        return x.new_zeros(*x.shape[:-1], self.outputs)
