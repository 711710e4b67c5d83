# SPDX-License-Identifier: Apache-2.0
"""A small sentence encoder: token ids to one vector a sentence."""

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY = 1000
LENGTH = 16
FEATURES = 128
HEADS = 4


class Block(nn.Module):
    """Attention and a feed-forward network, each normalized before and added after."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(FEATURES)
        self.query = nn.Linear(FEATURES, FEATURES)
        self.key = nn.Linear(FEATURES, FEATURES)
        self.value = nn.Linear(FEATURES, FEATURES)
        self.out = nn.Linear(FEATURES, FEATURES)
        self.norm = nn.LayerNorm(FEATURES)
        self.up = nn.Linear(FEATURES, 4 * FEATURES)
        self.down = nn.Linear(4 * FEATURES, FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, length, FEATURES) to the same."""
        h = self.attention_norm(x)
        query, key, value = (
            layer(h).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Encoder(nn.Module):
    """Embeddings, blocks and the mean over the tokens."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, FEATURES)
        self.positions = nn.Parameter(torch.randn(LENGTH, FEATURES) / 10)
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.norm = nn.LayerNorm(FEATURES)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(batch, length) token ids to (batch, FEATURES), of length 1."""
        x = self.tokens(ids) + self.positions[: ids.shape[1]]
        return F.normalize(self.norm(self.blocks(x)).mean(1), dim=-1)


def sentences(count: int, seed: int) -> torch.Tensor:
    """Random token ids, (count, LENGTH)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (count, LENGTH), generator=generator)
