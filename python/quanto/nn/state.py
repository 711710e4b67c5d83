# SPDX-License-Identifier: Apache-2.0
"""State dicts of quantized modules: the weight's plain tensors, each under a name of its own."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..tensor.qbits import code_geometry, scale_shape
from ..tensor.qtensor import QTensor, named_plain_tensors
from ..tensor.weights import WeightQBitsTensor, WeightQBytesTensor
from ..tensor.wrapper import contiguous_stride

if TYPE_CHECKING:
    from .qmodule import QModuleMixin

Reports = tuple[list[str], list[str], list[str]]


def weight_spec(module: "QModuleMixin") -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that make the module's weight when frozen."""
    if module.weight_qtype is None:
        return {}
    size, bits = tuple(module.weight.shape), module.weight_qtype.bits
    if bits == 8:
        scale = () if size[0] == 1 else scale_shape(size, 0, None)
        return {"_data": size, "_scale": scale}
    rows, *rest = code_geometry(size, 0, module.weight_group_size)[0]
    scales = scale_shape(size, 0, module.weight_group_size)
    return {"_data._data": (-(-rows * bits // 8), *rest), "_scale": scales, "_shift": scales}


def weight_errors(
    module: "QModuleMixin", tensors: dict[str, torch.Tensor], prefix: str
) -> list[str]:
    """One line for each tensor of the wrong shape or dtype."""
    if module.weight_qtype is None:
        return []
    codes = module.weight_qtype.dtype if module.weight_qtype.bits == 8 else torch.uint8
    errors = []
    for name, shape in weight_spec(module).items():
        tensor = tensors[prefix + name]
        if tuple(tensor.shape) != shape:
            got = tuple(tensor.shape)
            errors.append(f"size mismatch for {prefix}{name}: expected {shape}, got {got}")
        elif name.startswith("_data") and tensor.dtype != codes:
            errors.append(f"dtype of {prefix}{name}: expected {codes}, got {tensor.dtype}")
        elif name == "_scale" and tensor.dtype not in FLOATS:
            errors.append(f"dtype of {prefix}{name}: expected a float type, got {tensor.dtype}")
        elif name == "_shift" and tensor.dtype not in (*FLOATS, torch.uint8, torch.int8):
            errors.append(f"dtype of {prefix}{name}: expected a float or byte, got {tensor.dtype}")
    return errors


FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def weight_from(
    module: "QModuleMixin", tensors: dict[str, torch.Tensor], prefix: str
) -> WeightQBytesTensor | WeightQBitsTensor:
    """The module's weight round these tensors, which were checked."""
    size = tuple(module.weight.shape)
    stride = contiguous_stride(size)
    weight: WeightQBytesTensor | WeightQBitsTensor | None
    assert module.weight_qtype is not None
    if module.weight_qtype.bits == 8:
        axis = None if size[0] == 1 else 0
        weight = WeightQBytesTensor.load_from_state_dict(
            tensors, prefix, module.weight_qtype, axis, size, stride, module.activation_qtype, []
        )
    else:
        weight = WeightQBitsTensor.load_from_state_dict(
            tensors, prefix, module.weight_qtype, 0, module.weight_group_size, size, stride, []
        )
    assert weight is not None
    return weight


def save_module_state(
    module: "QModuleMixin", destination: dict[str, Any], prefix: str, keep_vars: bool
) -> None:
    """Put the plain tensors of a frozen weight in the place of the weight."""
    weight = module.weight
    if not isinstance(weight, QTensor) or prefix + "weight" not in destination:
        return
    later = {name: destination.pop(name) for name in list(destination) if name.startswith(prefix)}
    del later[prefix + "weight"]
    weight.save_to_state_dict(destination, prefix + "weight.", keep_vars)
    destination.update(later)


def load_module_state(
    module: "QModuleMixin",
    load: Callable[..., None],
    state_dict: dict[str, Any],
    prefix: str,
    metadata: dict[str, Any],
    strict: bool,
    reports: Reports,
) -> None:
    """Load a module: quantized tensors freeze it, a float weight unfreezes it."""
    missing, unexpected, errors = reports
    inner_prefix = prefix + "weight."
    inner = {name: t for name, t in state_dict.items() if name.startswith(inner_prefix)}
    # optimum-quanto stores None where a layer norm has no weight
    rest = {name: t for name, t in state_dict.items() if name not in inner and t is not None}
    assign = metadata.get("assign_to_params_buffers", False)
    missing_here: list[str] = []
    if prefix + "weight" in rest:
        if module.frozen:
            _unfreeze(module, rest[prefix + "weight"], errors)
    elif module.weight_qtype is not None and (module.frozen or inner):
        missing_here = _load_weight(module, inner, inner_prefix, assign, errors)
        _report_unexpected(module, inner, inner_prefix, strict, unexpected)
        inner = {}
    found: list[str] = []
    load(rest, prefix, metadata, strict, found, unexpected, errors)
    if strict:
        unexpected.extend(inner)
        handled = prefix + "weight" not in rest and (module.frozen or missing_here)
        missing.extend(missing_here)
        missing.extend(name for name in found if not (handled and name == prefix + "weight"))


def _report_unexpected(
    module: "QModuleMixin",
    inner: dict[str, Any],
    prefix: str,
    strict: bool,
    unexpected: list[str],
) -> None:
    known = {prefix + name for name in weight_spec(module)}
    if strict:
        unexpected.extend(name for name in inner if name not in known)


def _unfreeze(module: "QModuleMixin", value: torch.Tensor, errors: list[str]) -> None:
    old = module.weight
    if isinstance(value, torch.Tensor) and value.shape == old.shape:
        room = torch.empty(old.shape, dtype=old.dtype, device=old.device)
        module.weight = nn.Parameter(room)


def _load_weight(
    module: "QModuleMixin",
    tensors: dict[str, torch.Tensor],
    prefix: str,
    assign: bool,
    errors: list[str],
) -> list[str]:
    """Load a quantized weight; the names that are missing, in which case nothing is changed."""
    missing = [prefix + name for name in weight_spec(module) if prefix + name not in tensors]
    if missing:
        return missing
    problems = weight_errors(module, tensors, prefix)
    errors.extend(problems)
    if problems:
        return []
    weight, old = weight_from(module, tensors, prefix), module.weight
    if assign:
        module.weight = nn.Parameter(weight, requires_grad=False)
        return []
    if old.is_meta and not weight.is_meta:
        warnings.warn(
            f"{prefix[:-1]}: copying into a meta parameter does nothing (pass assign=True)",
            stacklevel=4,
        )
    if isinstance(old, QTensor):
        with torch.no_grad():
            for mine, loaded in zip(
                named_plain_tensors(old).values(), named_plain_tensors(weight).values(), strict=True
            ):
                mine.copy_(loaded)
    else:
        copied = weight.clone().to(device=old.device, dtype=old.dtype)
        module.weight = nn.Parameter(copied, requires_grad=False)
    return []
