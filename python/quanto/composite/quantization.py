# SPDX-License-Identifier: Apache-2.0
"""Scales, codes and packing as plain torch operations."""

import math
from collections.abc import Sequence

import torch

from .. import _library  # noqa: F401  (registers the operators)

_QMAX = {
    line.split()[0]: float(line.split()[5]) for line in torch.ops.quanto.qtype_table().splitlines()
}


def _group(base: torch.Tensor, axis: int, group_size: int | None) -> torch.Tensor:
    """The matrix of groups: `(rows, group_size)`, or `(group_size, rows)` along the last axis."""
    if group_size is None:
        return base
    elements = math.prod(base.shape) // max(base.shape[axis], 1)
    if group_size < 1 or elements % group_size != 0:
        raise ValueError(f"composite: expected group_size to divide {elements}, got {group_size}")
    if axis == 0:
        return base.reshape(-1, group_size)
    groups = base.reshape(elements // group_size, group_size, base.shape[-1])
    return groups.permute(1, 2, 0).reshape(group_size, -1)


def _ungroup(
    grouped: torch.Tensor, axis: int, group_size: int | None, size: Sequence[int]
) -> torch.Tensor:
    if group_size is None or axis == 0:
        return grouped.reshape(size)
    return grouped.reshape(group_size, size[-1], -1).permute(2, 0, 1).reshape(size)


def _other_dims(base: torch.Tensor, axis: int) -> list[int]:
    return list(range(1, base.dim())) if axis == 0 else list(range(base.dim() - 1))


def _check_finite(op: str, values: torch.Tensor) -> None:
    finite = torch.isfinite(values)
    if not finite.all():
        raise ValueError(f"{op}: expected finite values, got {values[~finite][0].item()}")


def quantize_symmetric(
    base: torch.Tensor, dtype: torch.dtype, axis: int | None, scale: torch.Tensor
) -> torch.Tensor:
    """See `quanto.library.quantize_symmetric`."""
    codes = torch.where(scale == 0, 0.0, base / scale).to(base.dtype)
    if dtype.is_floating_point:
        limits = torch.finfo(dtype)
        return codes.clamp(limits.min, limits.max).to(dtype)
    return codes.round().clamp(-128, 127).to(dtype)


def quantize_affine(
    base: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    scale: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    """See `quanto.library.quantize_affine`."""
    groups = _group(base, axis, group_size)
    if shift.dtype.is_floating_point:
        codes = torch.where(scale == 0, 0.0, (groups + shift) / scale).round()
    else:
        codes = torch.where(scale == 0, 0.0, groups / scale).round() + shift
    return codes.clamp(0, 2**bits - 1).to(torch.uint8)


def pack(self: torch.Tensor, bits: int) -> torch.Tensor:
    """See `quanto.library.pack`."""
    per_byte = 8 // bits
    rows = -(-self.shape[0] // per_byte)
    codes = self & (2**bits - 1)
    padding = codes.new_zeros((rows * per_byte - self.shape[0], *self.shape[1:]))
    planes = torch.cat((codes, padding)).reshape(per_byte, rows, *self.shape[1:])
    packed = planes[0]
    for item in range(1, per_byte):
        packed = packed | (planes[item] << (bits * item))
    return packed.contiguous()


def unpack(self: torch.Tensor, bits: int) -> torch.Tensor:
    """See `quanto.library.unpack`."""
    mask = 2**bits - 1
    return torch.cat([(self >> shift) & mask for shift in range(0, 8, bits)])


def dequantize_symmetric(data: torch.Tensor, axis: int | None, scale: torch.Tensor) -> torch.Tensor:
    """See `quanto.library.dequantize_symmetric`."""
    return data.to(scale.dtype) * scale


def dequantize_affine(
    data: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    size: Sequence[int],
    scale: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    """See `quanto.library.dequantize_affine`."""
    grouped = group_size is not None and axis == -1
    rows = group_size if grouped and group_size is not None else size[0]
    if group_size is not None and axis == 0:
        rows = math.prod(size) // group_size
    codes = unpack(data, bits)[:rows].to(scale.dtype)
    if shift.dtype.is_floating_point:
        weight = codes * scale - shift
    else:
        weight = (codes - shift.to(scale.dtype)) * scale
    return _ungroup(weight, axis, group_size, size)


def absmax_scale(base: torch.Tensor, qtype: str, axis: int | None) -> torch.Tensor:
    """See `quanto.library.absmax_scale`."""
    if qtype not in _QMAX and qtype != "qfloat8":
        raise ValueError(f"absmax_scale: expected the name of a qtype, got {qtype!r}")
    qmax = _QMAX["qfloat8_e4m3fn" if qtype == "qfloat8" else qtype]
    magnitudes = base.abs()
    if axis is None:
        largest = magnitudes.amax()
    else:
        largest = magnitudes.amax(_other_dims(base, axis), keepdim=True)
    _check_finite("absmax_scale", largest)
    return largest / qmax


def _range_scale(
    op: str, base: torch.Tensor, bits: int, axis: int, group_size: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    groups = _group(base, axis, group_size)
    dims = _other_dims(groups, axis)
    low, high = groups.amin(dims, keepdim=True), groups.amax(dims, keepdim=True)
    _check_finite(op, high - low)
    return (high - low) / (2**bits - 1), -low


def _with_zeropoint(
    scale: torch.Tensor, shift: torch.Tensor, bits: int, zeropoint: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    if not zeropoint:
        return scale, shift
    points = (shift / scale).nan_to_num(0.0).round()  # 0 / 0 under a zero scale
    return scale, points.clamp(0, 2**bits - 1).to(torch.uint8)


def max_scale(
    base: torch.Tensor, bits: int, axis: int, group_size: int | None, zeropoint: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `quanto.library.max_scale`."""
    scale, shift = _range_scale("max_scale", base, bits, axis, group_size)
    return _with_zeropoint(scale, shift, bits, zeropoint)


def hqq_scale(
    base: torch.Tensor,
    bits: int,
    axis: int,
    group_size: int | None,
    zeropoint: bool,
    lp_norm: float,
    beta: float,
    kappa: float,
    iters: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `quanto.library.hqq_scale`."""
    scale, best = _range_scale("hqq_scale", base, bits, axis, group_size)
    groups = _group(base, axis, group_size).float()
    dims = _other_dims(groups, axis)
    shift, lowest = best, math.inf
    for i in range(iters + 1):
        codes = quantize_affine(base, bits, axis, group_size, scale, shift)
        scaled = codes.float() * scale.float()
        error = groups - (scaled - shift.float())
        mean = error.double().abs().mean().item()
        if not mean < lowest:
            break
        lowest, best = mean, shift
        magnitude = error.abs()
        threshold = magnitude.pow(lp_norm - 1) / (beta * kappa**i)
        shrunk = error.sign() * (magnitude - threshold).clamp_min(0)
        shift = (scaled - (groups - shrunk)).mean(dims, keepdim=True).to(base.dtype)
    return _with_zeropoint(scale, best, bits, zeropoint)


def moving_absmax_scale(
    scale: torch.Tensor, base: torch.Tensor, qtype: str, momentum: float
) -> torch.Tensor:
    """See `quanto.library.moving_absmax_scale`."""
    if base.numel() == 0:
        return scale.clone()
    largest = absmax_scale(base, qtype, None).to(scale.device, scale.dtype)
    return torch.where(scale == 1, largest, momentum * scale + (1 - momentum) * largest)
