# SPDX-License-Identifier: Apache-2.0
"""Calling an operator, and the kind of error that it raises."""

from collections.abc import Callable
from typing import Any, NoReturn

import torch

FLOAT = frozenset({torch.float32, torch.float16, torch.bfloat16})
BYTES = frozenset({torch.int8, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz})
UINT8 = frozenset({torch.uint8})
SHIFT = FLOAT | UINT8
INDICES = frozenset({torch.int64, torch.int32})
Expected = tuple[tuple[torch.dtype | torch.Tensor | None, frozenset[torch.dtype]], ...]


def fail(error: ValueError, expected: Expected) -> NoReturn:
    """Raise `error` again, as a TypeError if one of the dtypes is what it complains about."""
    for value, dtypes in expected:
        dtype = value.dtype if isinstance(value, torch.Tensor) else value
        if dtype is not None and dtype not in dtypes:
            raise TypeError(str(error)) from None
    raise error


def call(op: Callable[..., Any], *args: Any, expected: Expected) -> Any:
    try:
        return op(*args)
    except ValueError as error:
        fail(error, expected)


def tensor(op: Callable[..., Any], *args: Any, expected: Expected) -> torch.Tensor:
    result: torch.Tensor = call(op, *args, expected=expected)
    return result


def pair(
    op: Callable[..., Any], *args: Any, expected: Expected
) -> tuple[torch.Tensor, torch.Tensor]:
    scale, shift = call(op, *args, expected=expected)
    return scale, shift
