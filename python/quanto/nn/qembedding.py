# SPDX-License-Identifier: Apache-2.0
"""The Embedding of a quantized weight."""

from typing import Any

import torch
from torch import nn

from .. import function
from ..qtype import qtype
from ..tensor.optimizers import Optimizer
from .codes import codes_of
from .qmodule import QModuleMixin, register_qmodule

_embedding = torch.ops.quanto.embedding.default


@register_qmodule(nn.Embedding)
class QEmbedding(QModuleMixin, nn.Embedding):  # type: ignore[misc]  # torch's freeze is an option
    """`nn.Embedding` with a quantized weight, of which only the rows asked for are decoded.

    One scale (or row of groups) per embedding. The output is float: activations are not quantized
    here. `quantize` makes one only where `include` names the embedding.
    """

    handles_activations = True
    only_when_named = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        reason = self.obstacle(self)
        if reason is not None:
            raise ValueError(f"{type(self).__name__}: expected other options, as {reason}")

    @classmethod
    def obstacle(cls, module: nn.Module) -> str | None:
        """Options that change the weight in the forward or want gradients of another kind."""
        assert isinstance(module, nn.Embedding)
        if module.max_norm is not None:
            return "max_norm changes the weight in every forward"
        options = {"sparse": module.sparse, "scale_grad_by_freq": module.scale_grad_by_freq}
        asked = [name for name, value in options.items() if value]
        return f"{asked[0]} gradients are not supported" if asked else None

    @classmethod
    def qcreate(
        cls,
        module: nn.Module,
        weights: qtype | str | None = None,
        activations: qtype | str | None = None,
        optimizer: Optimizer | None = None,
        device: torch.device | str | None = None,
    ) -> "QEmbedding":
        """A QEmbedding of the same size, its weight not set; `activations` stay float."""
        assert isinstance(module, nn.Embedding)
        return cls(
            module.num_embeddings,
            module.embedding_dim,
            module.padding_idx,
            max_norm=module.max_norm,
            scale_grad_by_freq=module.scale_grad_by_freq,
            sparse=module.sparse,
            dtype=module.weight.dtype,
            device=device,
            weights=weights,
            optimizer=optimizer,
        )

    def make_dynamic(self) -> None:
        """Nothing: there are no activations to quantize."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The embeddings of these indices, (*, embedding_dim), in the dtype of the weight."""
        weight = self.weight
        rows = codes_of(self, weight)
        size = (self.num_embeddings, self.embedding_dim)
        if torch.is_grad_enabled() and weight.requires_grad:
            padding_idx = self.padding_idx
            return function.embedding(input, *rows, *size, weight=weight, padding_idx=padding_idx)
        result: torch.Tensor = _embedding(input, *rows, *size)
        return result
