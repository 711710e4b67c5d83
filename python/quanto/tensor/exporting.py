# SPDX-License-Identifier: Apache-2.0
"""Running functions of torch on quantized tensors, so that torch.export can record them too.

Export records operators before autograd, where it knows plain tensors only. A function on a
quantized tensor is therefore taken apart with that recording off, down to the operators that
`__torch_dispatch__` sees, and what these do with plain tensors is recorded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx.experimental import proxy_tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .wrapper import WrapperTensor

_KEY = torch._C.DispatchKey.PreDispatch


def run_torch(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `__torch_function__` does with a function that has no rule of its own."""
    with torch._C.DisableTorchFunctionSubclass():  # else plain results become broken wrappers
        if torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling():
            with _recording(False), _Recorder():  # type: ignore[no-untyped-call]
                return func(*args, **kwargs)
        return func(*args, **kwargs)


def recording() -> bool:
    """Whether what runs now becomes part of an exported program."""
    return torch.compiler.is_exporting() and proxy_tensor._CURRENT_MAKE_FX_TRACER is not None


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees the operators of a function one by one."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Have it run by the quantized tensors that it takes, or else recorded."""
        with _recording(True):
            for cls in types:
                if issubclass(cls, WrapperTensor):
                    return cls.__torch_dispatch__(func, types, args, kwargs or {})
            return func(*args, **(kwargs or {}))


@contextmanager
def _recording(on: bool) -> Iterator[None]:
    was_off = torch._C._dispatch_tls_is_dispatch_key_excluded(_KEY)
    torch._C._dispatch_tls_set_dispatch_key_excluded(_KEY, not on)
    try:
        yield
    finally:
        torch._C._dispatch_tls_set_dispatch_key_excluded(_KEY, was_off)
