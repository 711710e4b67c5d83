"""The results of optimum-quanto 0.2.7 under tests/golden, and where we differ on purpose."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings tomli
    import tomli as tomllib

_ROOT = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Case:
    """One golden call; `inputs` and `outputs` are tensors (or plain values) by role."""

    id: str
    call: str
    params: dict[str, Any]
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    raises: str | None
    raw: dict[str, Any]


@dataclass(frozen=True)
class Deviation:
    """A case where our result is not the golden one, on purpose."""

    reason: str
    expected: str


def _resolve(tensors: dict[str, torch.Tensor], entry: Any) -> Any:
    if isinstance(entry, str):
        return tensors[entry]
    if "value" in entry:
        return entry["value"]
    return tensors[entry["name"]].view(getattr(torch, entry["view_as"]))


@functools.cache
def cases(name: str) -> dict[str, Case]:
    """The cases of a set, by id."""
    index = json.loads((_ROOT / "quanto" / f"{name}.json").read_text())
    tensors = load_file(_ROOT / "quanto" / f"{name}.safetensors")
    found = {}
    for raw in index["cases"]:
        inputs, outputs = (
            {role: _resolve(tensors, entry) for role, entry in raw.get(part, {}).items()}
            for part in ("inputs", "outputs")
        )
        found[raw["id"]] = Case(
            raw["id"], raw["call"], raw["params"], inputs, outputs, raw.get("raises"), raw
        )
    assert len(found) == index["count"]
    return found


@functools.cache
def deviations(name: str) -> dict[str, Deviation]:
    """Our deviations from a set, by case id."""
    table = tomllib.loads((_ROOT / "deviations.toml").read_text())
    found = {}
    for entry in table["deviation"]:
        if entry["set"] == name:
            for case_id in entry["ids"]:
                found[case_id] = Deviation(entry["reason"], entry["expected"])
    unknown = set(found) - set(cases(name))
    assert not unknown, f"deviations.toml: expected ids of {name}, got {sorted(unknown)}"
    return found


def every(name: str, call: str = "", *, expected: str | None = None) -> pytest.MarkDecorator:
    """Parametrizes `case` over a set's cases whose call starts with `call`.

    Those that are compared, or those of deviations.toml that expect `expected`.
    """
    known = deviations(name)
    chosen = [
        case
        for case in cases(name).values()
        if case.call.startswith(call)
        and (known[case.id].expected if case.id in known else None) == expected
    ]
    assert chosen, f"expected cases of {name}: {call!r}, {expected!r}, got none"
    return pytest.mark.parametrize("case", chosen, ids=[case.id for case in chosen])
