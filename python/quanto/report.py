# SPDX-License-Identifier: Apache-2.0
"""What `explain` says of a model, and how it prints."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class KernelChoice:
    """The kernel that a forward of that many rows will run, and its instruction set."""

    rows: int
    kernel: str
    isa: str


@dataclass(frozen=True)
class ModuleReport:
    """One quantized module; bytes are those of the frozen weight, or will be once frozen.

    `qtype` is that of the weight, "none" where it stays float; `activations` says the type and how
    they are quantized ("qint8 in, out", "qint8 dynamic"), or "-". `shares` names an earlier module
    whose weight this one's is: the totals count it once.
    """

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
    activations: str = "-"
    shares: str | None = None

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
        return sum(module.bytes for module in self.modules if module.shares is None)

    @property
    def bits_per_weight(self) -> float:
        """Of all quantized weights together."""
        elements = sum(module.elements for module in self.modules if module.shares is None)
        return 8 * self.quantized_bytes / max(elements, 1)

    @property
    def total_bytes(self) -> int:
        """Of all parameters and buffers."""
        return self.quantized_bytes + self.other_bytes

    def __str__(self) -> str:
        header = [
            "module",
            "qtype",
            "group",
            "activations",
            "data",
            "scale",
            "shift",
            "bits/weight",
        ]
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
    return [module.name, module.qtype, group, module.activations, *sizes, bits, *kernels]


def _columns(rows: list[list[str]]) -> list[str]:
    count = max(len(row) for row in rows)
    padded = [row + [""] * (count - len(row)) for row in rows]
    widths = [max(len(row[i]) for row in padded) for i in range(count)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in padded
    ]
