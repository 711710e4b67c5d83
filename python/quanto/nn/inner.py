# SPDX-License-Identifier: Apache-2.0
"""The inner tensors of a module's quantized weight, by the names of its state dict."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from ..tensor.qtensor import QTensor, named_plain_tensors
from ..tensor.weights import WeightQBytesTensor


class NamedInnerTensors:
    """Mixed in before a torch module.

    Asked directly, a frozen module names its inner tensors as its state dict does, and reads and
    writes them by these names: accelerate offloads and FSDP2 shards them as the plain tensors they
    are.
    """

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of the torch module, with the inner tensors in the place of a quantized weight."""
        members = super().named_parameters(prefix, recurse, remove_duplicate)  # type: ignore[misc]
        for name, parameter in members:
            if isinstance(parameter, QTensor):
                yield from named_plain_tensors(parameter, f"{name}.").items()  # type: ignore[misc]
            else:
                yield name, parameter

    def __getattr__(self, name: str) -> Any:
        if "." in name:
            owner, _, leaf = name.rpartition(".")
            return getattr(getattr(self, owner), leaf)
        return super().__getattr__(name)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        if "." in name:
            owner, _, leaf = name.rpartition(".")
            target = getattr(self, owner)
            if isinstance(target, WeightQBytesTensor) and leaf == "_data":
                # FSDP2 casts float8 codes to the dtype of mixed precision, which holds them exactly
                value = value.detach().to(target.qtype.dtype)
            setattr(target, leaf, value)
        else:
            super().__setattr__(name, value)
