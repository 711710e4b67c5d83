# SPDX-License-Identifier: Apache-2.0
"""The quantized types, read from the one table of the core."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class qtype:
    """A quantized type; qint2 and qint4 codes are held in int8 where they are not packed."""

    name: str
    is_floating_point: bool
    bits: int
    dtype: torch.dtype
    qmin: float | int
    qmax: float | int

    def __str__(self) -> str:
        return f"quanto.{self.name}"

    def __hash__(self) -> int:
        return hash(str(self))


class UnknownQTypeError(KeyError, ValueError):
    """A name that is not in `qtypes`: a bad key and a bad value."""

    def __str__(self) -> str:
        return str(self.args[0])


class QTypes(dict[str, qtype]):
    """The types by name; an unknown name says which ones there are."""

    def __missing__(self, name: object) -> qtype:
        raise UnknownQTypeError(f"qtypes: expected one of {', '.join(self)}, got {name!r}")


def _number(text: str, is_floating_point: bool) -> float | int:
    return float(text) if is_floating_point else int(text)


def _read_table() -> QTypes:
    table = QTypes()
    for line in torch.ops.quanto.qtype_table().splitlines():
        name, floating, bits, dtype, qmin, qmax = line.split()
        is_float = floating.lower() in ("1", "true")
        table[name] = qtype(
            name,
            is_float,
            int(bits),
            getattr(torch, dtype),
            _number(qmin, is_float),
            _number(qmax, is_float),
        )
    table.setdefault("qfloat8", table["qfloat8_e4m3fn"])
    return table


qtypes = _read_table()
qint2 = qtypes["qint2"]
qint4 = qtypes["qint4"]
qint8 = qtypes["qint8"]
qfloat8 = qtypes["qfloat8"]
qfloat8_e4m3fn = qtypes["qfloat8_e4m3fn"]
qfloat8_e4m3fnuz = qtypes["qfloat8_e4m3fnuz"]
qfloat8_e5m2 = qtypes["qfloat8_e5m2"]


def as_qtype(value: "qtype | str") -> qtype:
    """The type itself, or the one of that name: "qint8" and "int8" alike."""
    if isinstance(value, qtype):
        return value
    return qtypes[f"q{value}" if isinstance(value, str) and f"q{value}" in qtypes else value]
