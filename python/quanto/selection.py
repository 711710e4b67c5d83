# SPDX-License-Identifier: Apache-2.0
"""Which modules of a model `quantize` replaces."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch

from torch import nn

from .inspection import Sharer, obstacle, only_when_named, sharers
from .nn.qmodule import QModuleMixin, qmodule_class
from .qtype import qtype

Patterns = str | Iterable[str] | None
Named = tuple[list[str], nn.Module]  # a module with all its names


@dataclass(frozen=True)
class Types:
    """What is asked for; `activations` without `dynamic` are static."""

    weights: qtype | None
    activations: qtype | None
    dynamic: bool = False


@dataclass
class Selection:
    """The modules to replace, and what there is to say of those that could be meant but stay."""

    chosen: list[Named] = field(default_factory=list)
    tied: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def messages(self) -> list[str]:
        """One line for each reason why modules stay as they are."""
        lines = []
        if self.tied:
            lines.append(f"quantize: left float, as the weight is shared: {', '.join(self.tied)}")
        if self.left or self.frozen:
            lines.append(f"quantize: left as they are: {', '.join(self.left + self.frozen)}")
        return lines


def patterns_of(value: Patterns) -> list[str]:
    """The patterns of an argument that takes one or several."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def select(
    model: nn.Module, types: Types, include: list[str] | None, exclude: list[str]
) -> Selection:
    """Choose by name, kind and state.

    Raises ValueError if a pattern matches nothing, if nothing is chosen though nothing was
    quantized before, or if only one of two modules that share a weight could be quantized.
    """
    modules = _modules(model)
    _check_patterns(modules, include, exclude)
    chooser = _Chooser(types, include, exclude, sharers(model), dict(_by_id(modules)))
    for names, module in modules:
        chooser.consider(names, module)
    selection = chooser.selection
    if not selection.chosen and not selection.frozen:
        reasons = selection.messages()
        if qmodule_class(model) is not None:
            reasons.append("the model itself is never replaced")
        raise ValueError("; ".join(["quantize: expected a module to quantize, got none", *reasons]))
    return selection


def _modules(model: nn.Module) -> list[Named]:
    """Every submodule with all its names."""
    found: dict[int, Named] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if name:
            found.setdefault(id(module), ([], module))[0].append(name)
    return list(found.values())


def _by_id(modules: list[Named]) -> Iterable[tuple[int, Named]]:
    return ((id(named[1]), named) for named in modules)


def _matches(names: list[str], patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _names_it(name: str, pattern: str) -> bool:
    """Whether the pattern says the module's own name, or a part of it, and not only its parents'.

    "model.embed_tokens", "*embed*" and "*.wte" do; "*", "model.*" and "model*" do not.
    """
    leaf, last = name.rpartition(".")[2], pattern.rpartition(".")[2]
    return bool(last.strip("*?")) and fnmatch(name, pattern) and fnmatch(leaf, last)


def _named(names: list[str], include: list[str] | None) -> bool:
    return any(_names_it(name, pattern) for name in names for pattern in include or [])


def _check_patterns(modules: list[Named], include: list[str] | None, exclude: list[str]) -> None:
    every = [name for names, _ in modules for name in names]
    quantizable = [
        (name, only_when_named(module))
        for names, module in modules
        for name in names
        if qmodule_class(module) is not None
    ]

    def included(pattern: str) -> bool:
        return any(
            _names_it(name, pattern) if by_name else fnmatch(name, pattern)
            for name, by_name in quantizable
        )

    unmatched = {
        "include": [pattern for pattern in include or [] if not included(pattern)],
        "exclude": [p for p in exclude if not any(fnmatch(name, p) for name in every)],
    }
    for option, patterns in unmatched.items():
        if patterns:
            raise ValueError(
                f"quantize: expected {option} to match modules"
                f"{' that can be quantized' if option == 'include' else ''}, "
                f"got none for {', '.join(patterns)}"
            )


def _all_quantized(others: list[Sharer]) -> bool:
    return all(isinstance(other.module, QModuleMixin) for other in others)


@dataclass
class _Chooser:
    types: Types
    include: list[str] | None
    exclude: list[str]
    shared: dict[int, list[Sharer]]
    known: dict[int, Named]
    selection: Selection = field(default_factory=Selection)

    def consider(self, names: list[str], module: nn.Module) -> None:
        """Choose the module, leave it, or leave it and note why."""
        found = qmodule_class(module)
        if found is None or not found[1].applies(self.types.activations, self.types.dynamic):
            return
        named = _named(names, self.include)
        selected = self.include is None or _matches(names, self.include)
        if only_when_named(module):
            selected = named or (isinstance(module, QModuleMixin) and selected)
        if not selected or _matches(names, self.exclude) or self._chosen(module):
            return
        others = self.shared.get(id(module), [])
        reason = obstacle(module, self.types.weights, self.types.activations)
        if reason is not None:
            frozen = isinstance(module, QModuleMixin) and module.frozen
            notes = self.selection.frozen if frozen else self.selection.left
            notes.append(f"{names[0]} ({reason})")
        elif others and not named and not _all_quantized(others):
            self.selection.tied.append(f"{names[0]} (with {others[0].name})")
        else:
            self.selection.chosen.append((names, module))
            for other in others:
                self._choose_with(names[0], other)

    def _chosen(self, module: nn.Module) -> bool:
        return any(module is chosen for _, chosen in self.selection.chosen)

    def _choose_with(self, name: str, other: Sharer) -> None:
        """Choose the module that shares the weight of a chosen one: the weight is kept once."""
        if self._chosen(other.module):
            return
        names, _ = self.known.get(id(other.module), ([], None))
        reason = None
        if not names:
            reason = "it is the model itself"
        elif _matches(names, self.exclude):
            reason = "exclude leaves it out"
        else:
            reason = obstacle(other.module, self.types.weights, self.types.activations)
        if reason is not None:
            raise ValueError(
                f"quantize: expected {name} and {other.name} to be quantized both, as they share "
                f"a weight, got a reason not to: {reason}"
            )
        self.selection.chosen.append((names, other.module))
