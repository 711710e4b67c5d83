# SPDX-License-Identifier: Apache-2.0
"""Rows of a quantized weight."""

from typing import Any

import torch

from .. import _library  # noqa: F401  (registers the operators)


class EmbeddingFunction(torch.autograd.Function):
    """`quanto::embedding` with, straight through, a gradient for the float weight."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: torch.Tensor,
        indices: torch.Tensor,
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor | None,
        bits: int,
        group_size: int | None,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int,
    ) -> torch.Tensor:
        """One operator call; the float weight takes no part in it."""
        ctx.save_for_backward(indices)
        ctx.options = (num_embeddings, padding_idx)
        result: torch.Tensor = torch.ops.quanto.embedding(
            indices, data, scale, shift, bits, group_size, num_embeddings, embedding_dim
        )
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradient for `weight`."""
        (indices,) = ctx.saved_tensors
        grad_weight = torch.ops.aten.embedding_dense_backward(grad, indices, *ctx.options, False)
        return grad_weight, *(None,) * 9


def embedding(
    indices: torch.Tensor,
    data: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor | None,
    bits: int,
    group_size: int | None,
    num_embeddings: int,
    embedding_dim: int,
    *,
    weight: torch.Tensor,
    padding_idx: int | None = None,
) -> torch.Tensor:
    """`quanto.library.embedding`, with a gradient for `weight`, as `linear` has.

    Row `padding_idx` of the weight (counted from the end if negative) receives none.
    """
    if padding_idx is None:
        padding_idx = -1
    elif padding_idx < 0:
        padding_idx += num_embeddings
    rows = (data, scale, shift, bits, group_size, num_embeddings, embedding_dim)
    result: torch.Tensor = EmbeddingFunction.apply(  # type: ignore[no-untyped-call]
        weight, indices, *rows, padding_idx
    )
    return result
