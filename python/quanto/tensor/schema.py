# SPDX-License-Identifier: Apache-2.0
"""What an operator's schema says of its arguments."""

from typing import Any, TypeVar

from torch.utils import _pytree as pytree

Kind = TypeVar("Kind")


def written(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], kind: type[Kind]
) -> list[Kind]:
    """The arguments of that kind, lists opened, that the operator writes to."""
    found: list[Any] = []
    if not func._schema.is_mutable:
        return []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[position] if position < len(args) else kwargs.get(argument.name)
        found += pytree.tree_leaves(value)
    return [value for value in found if isinstance(value, kind)]
