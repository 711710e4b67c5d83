# SPDX-License-Identifier: Apache-2.0
"""What a quantized model holds and which kernels it will run."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from . import library
from .inspection import obstacle, only_when_named, tied_to_other
from .nn.qmodule import QModuleMixin, qmodule_class
from .nn.state import FLOATS
from .qtype import qint8
from .report import Explanation, FloatReport, KernelChoice, ModuleReport
from .tensor.qtensor import QTensor, named_plain_tensors
from .tensor.weights import WeightQBitsTensor, WeightQBytesTensor

_BYPASSED = (
    "torch's attention reads its weight and never calls it: the weight is float until frozen, "
    "activations stay float"
)

__all__ = ["Explanation", "FloatReport", "KernelChoice", "ModuleReport", "explain"]


def explain(
    model: nn.Module, rows: Sequence[int] = (1, 128), dtype: torch.dtype | None = None
) -> Explanation:
    """What each quantized module holds, the kernels its forward will run, and what stays float.

    Args:
        rows: numbers of input rows to plan for.
        dtype: of the activations; default that of each weight.
    """
    modules: list[ModuleReport] = []
    left: list[FloatReport] = []
    shared = tied_to_other(model)
    counted: set[int] = set()
    other = sum(_new_bytes(t, counted) for t in _other_tensors(model))
    owners: dict[int, str] = {}
    attentions = (m for m in model.modules() if isinstance(m, nn.MultiheadAttention))
    bypassed = {id(attention.out_proj) for attention in attentions}
    for name, module in model.named_modules():
        if isinstance(module, QModuleMixin):
            report = _module_report(name, module, tuple(rows), dtype)
            if id(module) in bypassed:
                report = replace(report, notes=(*report.notes, _BYPASSED))
            owner = owners.setdefault(id(module.weight), name)
            if owner != name and module.weight_qtype is not None:
                notes = (*report.notes, f"shares its weight with {owner}")
                report = replace(report, shares=owner, notes=notes)
            modules.append(report)
        else:
            left += _float_reports(name, module, shared.get(id(module)))
    return Explanation(tuple(modules), tuple(left), other, tuple(rows))


def _other_tensors(model: nn.Module) -> list[torch.Tensor]:
    modules = (m for m in model.modules() if isinstance(m, QModuleMixin))
    weights = {id(m.weight) for m in modules if m.weight_qtype is not None}
    tensors = [*model.parameters(), *model.buffers()]
    return [t for t in tensors if id(t) not in weights and not isinstance(t, QTensor)]


def _new_bytes(tensor: torch.Tensor, counted: set[int]) -> int:
    if id(tensor) in counted:
        return 0
    counted.add(id(tensor))
    return _bytes(tensor)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _module_report(
    name: str, module: QModuleMixin, rows: tuple[int, ...], dtype: torch.dtype | None
) -> ModuleReport:
    weight: torch.Tensor | None = module.weight
    frozen = isinstance(weight, (WeightQBytesTensor, WeightQBitsTensor))
    quantized = _planned(module) if not frozen else weight
    sizes = {"_data": 0, "_scale": 0, "_shift": 0}
    if quantized is not None:
        for inner, tensor in named_plain_tensors(quantized).items():  # type: ignore[arg-type]
            sizes[inner.partition(".")[0]] += _bytes(tensor)
    taken = dtype or (torch.float32 if weight is None else weight.dtype)
    return ModuleReport(
        name,
        "none" if module.weight_qtype is None else module.weight_qtype.name,
        module.weight_group_size,
        frozen,
        0 if quantized is None or weight is None else weight.numel(),
        sizes["_data"],
        sizes["_scale"],
        sizes["_shift"],
        () if quantized is None else _kernels(module, quantized, rows, taken),
        tuple(_notes(module, quantized, frozen, taken)),
        _activations(module),
    )


def _planned(module: QModuleMixin) -> torch.Tensor | None:
    """The quantized weight on the meta device: shapes only; None where it stays float."""
    if module.weight_qtype is None:
        return None
    weight = torch.empty(module.weight.shape, dtype=module.weight.dtype, device="meta")
    return module.quantized(weight)


def _activations(module: QModuleMixin) -> str:
    if module.activation_qtype is None:
        return "-"
    name = module.activation_qtype.name
    if module.dynamic:
        return f"{name} dynamic"
    sides = {"in": module.quantizes_input, "out": module.quantizes_output}
    return f"{name} {', '.join(side for side, on in sides.items() if on) or 'as they come'}"


def _notes(
    module: QModuleMixin, quantized: torch.Tensor | None, frozen: bool, taken: torch.dtype
) -> list[str]:
    notes = []
    if quantized is None:
        notes.append("its weight stays float")
    elif not frozen:
        notes.append("not frozen: the weight is quantized again in every forward")
    if module.uncalibrated():
        notes.append("not calibrated: its activations are quantized by a scale of 1")
    device = module.input_scale.device if quantized is None else module.weight.device
    if device.type not in ("cpu", "meta"):
        notes.append(f"on {device.type} the composite of plain torch operators runs: no kernel yet")
    if isinstance(module, nn.Conv2d):
        notes.append("M counts output pixels")
    if isinstance(module, nn.Embedding):
        notes.append("decodes only the rows asked for")
    elif taken not in FLOATS:
        notes.append(f"no kernel takes {taken} activations: the forward raises")
    return notes


def _kernels(
    module: QModuleMixin, quantized: torch.Tensor, rows: tuple[int, ...], taken: torch.dtype
) -> tuple[KernelChoice, ...]:
    """The kernel of a product with the weight; an embedding has none."""
    if taken not in FLOATS or isinstance(module, nn.Embedding):
        return ()
    if module.weight.device.type not in ("cpu", "meta"):
        return tuple(KernelChoice(count, "composite", "torch") for count in rows)
    shift = "none"
    if isinstance(quantized, WeightQBitsTensor):
        shift = "float" if quantized._shift.dtype.is_floating_point else "integer"
    kind = module.activation_qtype
    if kind is not None and module.quantizes_input:
        taken = kind.dtype
    assert module.weight_qtype is not None
    name, group_size = module.weight_qtype.name, module.weight_group_size

    def plan(count: int) -> tuple[str, str]:
        if not isinstance(module, nn.Conv2d):
            outputs, elements = quantized.shape
            return library.plan(taken, name, count, elements, outputs, group_size, shift)
        size, groups = quantized.shape, module.groups
        stride = module.stride
        return library.plan_conv2d(taken, name, count, size, stride, groups, group_size, shift)

    return tuple(KernelChoice(count, *plan(count)) for count in rows)


def _float_reports(name: str, module: nn.Module, owner: str | None) -> list[FloatReport]:
    reports = []
    for leaf, parameter in module._parameters.items():
        if parameter is None or parameter.dim() < 2:
            continue
        reason = f"shares its weight with {owner}" if owner else _reason(module)
        full = f"{name}.{leaf}" if name else leaf
        reports.append(FloatReport(full, type(module).__name__, _bytes(parameter), reason))
    return reports


def _reason(module: nn.Module) -> str:
    if qmodule_class(module) is None:
        return f"{type(module).__name__} has no quantized counterpart"
    if only_when_named(module) and obstacle(module, qint8) is None:
        return "not named by include"
    return obstacle(module, qint8) or "not asked for"
