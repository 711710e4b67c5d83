# SPDX-License-Identifier: Apache-2.0
"""The whole way of a quantized model: quantize, calibrate, tune, freeze, save, reload."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import quanto

from .data import Split
from .model import accuracy, classifier, logits, train

LEARNING_RATE = 2e-3
TUNING_RATE = 5e-4
CALIBRATION_IMAGES = 1000
TENSORS = "model.safetensors"
MAP = "quantization_map.json"


@dataclass(frozen=True)
class Row:
    """The model after one step; accuracy on the test images, bytes of its state dict."""

    step: str
    accuracy: float
    bytes: int


@dataclass(frozen=True)
class Settings:
    """What to train on and how long, the types to quantize to, and where the model is saved."""

    training: Split
    test: Split
    epochs: int
    tuning_epochs: int
    weights: str
    activations: str
    output: Path


def run(settings: Settings, done: Callable[[Row], None]) -> list[Row]:
    """One row for each step, each told to `done` as soon as it is there.

    Raises RuntimeError if the reloaded model's logits are not those of the saved one.
    """
    rows: list[Row] = []
    types = f"{settings.weights} weights, {settings.activations} activations"

    def record(step: str, model: nn.Module) -> None:
        rows.append(Row(step, accuracy(model, settings.test), size(model)))
        done(rows[-1])

    model = classifier()
    train(model, settings.training, settings.epochs, LEARNING_RATE)
    record("float32", model)
    quanto.quantize(model, weights=settings.weights, activations=settings.activations)
    with quanto.Calibration():
        logits(model, settings.training.images[:CALIBRATION_IMAGES])
    record(f"{types}, calibrated", model)
    train(model, settings.training, settings.tuning_epochs, TUNING_RATE)
    record("tuned", model)
    quanto.freeze(model)
    record("frozen", model)
    save(model, settings.output)
    reloaded = reload(settings.output)
    if not torch.equal(logits(reloaded, settings.test.images), logits(model, settings.test.images)):
        raise RuntimeError("fashion_mnist: expected the saved model's logits, got others")
    record("saved and reloaded", reloaded)
    return rows


def size(model: nn.Module) -> int:
    """Bytes of the state dict."""
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def save(model: nn.Module, directory: Path) -> None:
    """Write the tensors and the quantization map."""
    directory.mkdir(parents=True, exist_ok=True)
    quanto.safe_save(model.state_dict(), directory / TENSORS)
    (directory / MAP).write_text(json.dumps(quanto.quantization_map(model), indent=2))


def reload(directory: Path) -> nn.Module:
    """The model of `save`, built without float weights."""
    with torch.device("meta"):
        model = classifier()
    quantization_map = json.loads((directory / MAP).read_text())
    quanto.requantize(model, quanto.safe_load(directory / TENSORS), quantization_map)
    return model.eval()
