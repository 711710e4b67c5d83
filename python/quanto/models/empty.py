# SPDX-License-Identifier: Apache-2.0
"""Building a model without memory for its parameters."""

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import nn

_lock = threading.RLock()


@contextlib.contextmanager
def empty_weights() -> Iterator[None]:
    """Within it, parameters of new modules are on the meta device, as is what is computed of them.

    Buffers keep their values: those that no checkpoint holds, such as rotary tables, come from the
    model's own constructor. One thread at a time builds so.
    """
    with _lock:
        register = nn.Module.register_parameter

        def register_on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
            if parameter is not None and not parameter.is_meta:
                requires_grad = parameter.requires_grad
                attributes = parameter.__dict__
                parameter = nn.Parameter(parameter.detach().to("meta"), requires_grad)
                parameter.__dict__.update(attributes)
            register(module, name, parameter)

        nn.Module.register_parameter = register_on_meta  # type: ignore[method-assign,assignment]
        try:
            with torch.no_grad():
                yield
        finally:
            nn.Module.register_parameter = register  # type: ignore[method-assign]
