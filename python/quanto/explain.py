"""What a quantized model holds and which kernels it will run."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from . import library
from .inspection import obstacle, tied_to_other
from .nn.qmodule import QModuleMixin, qmodule_class
from .nn.state import FLOATS
from .qtype import qint8
from .tensor.qtensor import QTensor, named_plain_tensors
from .tensor.weights import WeightQBitsTensor, WeightQBytesTensor


@dataclass(frozen=True)
class KernelChoice:
    """The kernel that a forward of that many rows will run, and its instruction set."""

    rows: int
    kernel: str
    isa: str


@dataclass(frozen=True)
class ModuleReport:
    """One quantized module; bytes are those of the frozen weight, or will be once frozen."""

    name: str
    qtype: str
    group_size: int | None
    frozen: bool
    elements: int
    data_bytes: int
    scale_bytes: int
    shift_bytes: int
    kernels: tuple[KernelChoice, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of the quantized weight."""
        return self.data_bytes + self.scale_bytes + self.shift_bytes

    @property
    def bits_per_weight(self) -> float:
        """Scales and shifts included."""
        return 8 * self.bytes / max(self.elements, 1)


@dataclass(frozen=True)
class FloatReport:
    """A weight of at least two dimensions that is not quantized, and why."""

    name: str
    kind: str
    bytes: int
    reason: str


@dataclass(frozen=True)
class Explanation:
    """The report on a model; its string is a table."""

    modules: tuple[ModuleReport, ...] = ()
    left_float: tuple[FloatReport, ...] = ()
    other_bytes: int = 0
    rows: tuple[int, ...] = field(default=())

    @property
    def quantized_bytes(self) -> int:
        """Of all quantized weights."""
        return sum(module.bytes for module in self.modules)

    @property
    def bits_per_weight(self) -> float:
        """Of all quantized weights together."""
        elements = sum(module.elements for module in self.modules)
        return 8 * self.quantized_bytes / max(elements, 1)

    @property
    def total_bytes(self) -> int:
        """Of all parameters and buffers."""
        return self.quantized_bytes + self.other_bytes

    def __str__(self) -> str:
        header = ["module", "qtype", "group", "data", "scale", "shift", "bits/weight"]
        header += [f"M = {rows}" for rows in self.rows]
        lines = _columns([header, *(_cells(module) for module in self.modules)])
        for module in self.modules:
            lines += [f"{module.name}: {note}" for note in module.notes]
        lines += [
            f"{left.name} ({left.kind}, {left.bytes} bytes) stays float: {left.reason}"
            for left in self.left_float
        ]
        lines.append(
            f"quantized: {len(self.modules)} modules, {self.quantized_bytes} bytes, "
            f"{self.bits_per_weight:.2f} bits per weight; the rest: {self.other_bytes} bytes; "
            f"in all: {self.total_bytes} bytes"
        )
        return "\n".join(lines)


def _cells(module: ModuleReport) -> list[str]:
    sizes = [str(n) for n in (module.data_bytes, module.scale_bytes, module.shift_bytes)]
    group = "-" if module.group_size is None else str(module.group_size)
    kernels = [f"{choice.kernel} ({choice.isa})" for choice in module.kernels]
    bits = f"{module.bits_per_weight:.2f}"
    return [module.name, module.qtype, group, *sizes, bits, *kernels]


def _columns(rows: list[list[str]]) -> list[str]:
    count = max(len(row) for row in rows)
    padded = [row + [""] * (count - len(row)) for row in rows]
    widths = [max(len(row[i]) for row in padded) for i in range(count)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in padded
    ]


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
    for name, module in model.named_modules():
        if isinstance(module, QModuleMixin):
            modules.append(_module_report(name, module, tuple(rows), dtype))
        else:
            left += _float_reports(name, module, shared.get(id(module)))
    return Explanation(tuple(modules), tuple(left), other, tuple(rows))


def _other_tensors(model: nn.Module) -> list[torch.Tensor]:
    weights = {id(m.weight) for m in model.modules() if isinstance(m, QModuleMixin)}
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
    weight = module.weight
    frozen = isinstance(weight, (WeightQBytesTensor, WeightQBitsTensor))
    sizes = {"_data": 0, "_scale": 0, "_shift": 0}
    quantized = weight if frozen else _planned(module)
    for inner, tensor in named_plain_tensors(quantized).items():  # type: ignore[arg-type]
        sizes[inner.partition(".")[0]] += _bytes(tensor)
    activation = dtype or weight.dtype
    notes = _notes(module, frozen, activation)
    kernels = _kernels(module, quantized, rows, activation)
    return ModuleReport(
        name,
        module.weight_qtype.name,
        module.weight_group_size,
        frozen,
        weight.numel(),
        sizes["_data"],
        sizes["_scale"],
        sizes["_shift"],
        kernels,
        tuple(notes),
    )


def _planned(module: QModuleMixin) -> torch.Tensor:
    """The quantized weight on the meta device: shapes only."""
    weight = torch.empty(module.weight.shape, dtype=module.weight.dtype, device="meta")
    return module.quantized(weight)


def _notes(module: QModuleMixin, frozen: bool, activation: torch.dtype) -> list[str]:
    notes = []
    if not frozen:
        notes.append("not frozen: the weight is quantized again in every forward")
    device = module.weight.device.type
    if device not in ("cpu", "meta"):
        notes.append(f"on {device} the composite of plain torch operators runs: no kernel yet")
    if activation not in FLOATS:
        notes.append(f"no kernel takes {activation} activations: the forward raises")
    return notes


def _kernels(
    module: QModuleMixin, quantized: torch.Tensor, rows: tuple[int, ...], activation: torch.dtype
) -> tuple[KernelChoice, ...]:
    if activation not in FLOATS:
        return ()
    if module.weight.device.type not in ("cpu", "meta"):
        return tuple(KernelChoice(count, "composite", "torch") for count in rows)
    shift = "none"
    if isinstance(quantized, WeightQBitsTensor):
        shift = "float" if quantized._shift.dtype.is_floating_point else "integer"
    out_features, in_features = quantized.shape
    arguments = (in_features, out_features, module.weight_group_size, shift)
    name = module.weight_qtype.name
    return tuple(
        KernelChoice(count, *library.plan(activation, name, count, *arguments)) for count in rows
    )


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
    return obstacle(module, qint8) or "not asked for"
