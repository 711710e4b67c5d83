# SPDX-License-Identifier: Apache-2.0
"""A small convolutional classifier, its training and its accuracy."""

import torch
from torch import nn
from torch.nn import functional as F

from .data import CLASSES, SIDE, Split

BATCH = 128


def classifier() -> nn.Sequential:
    """Two convolutions and two linear layers, 106 thousand weights."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 30, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(30 * (SIDE // 4) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, CLASSES),
    )


def train(model: nn.Module, split: Split, epochs: int, learning_rate: float) -> None:
    """Adam on the cross entropy, in batches of 128, the rate falling to 0 along a cosine."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    batches = -(-len(split) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(epochs * batches, 1))
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(split)).split(BATCH):
            loss = F.cross_entropy(model(split.images[chosen]), split.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Of all images (N, 1, 28, 28): (N, 10), plain floats."""
    return torch.cat([model(batch).dequantize() for batch in images.split(1000)])


def accuracy(model: nn.Module, split: Split) -> float:
    """The share of images whose class is the model's first guess."""
    hits = logits(model, split.images).argmax(1) == split.labels
    return float(hits.double().mean())
