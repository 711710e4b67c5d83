# SPDX-License-Identifier: Apache-2.0
"""`optimum-cli quanto quantize`: a model of the hub, or of a directory, quantized into another."""

import argparse
import importlib
from typing import Any

import torch

from ..models.transformers_models import QuantizedTransformersModel

_DTYPES = {"auto": "auto", "fp16": torch.float16, "bf16": torch.bfloat16}


def run(args: argparse.Namespace) -> None:
    """Quantize all layers of `args.model` to `args.weights` and write the result to `args.output`.

    The arguments are those of `optimum.commands.register.quanto`.
    """
    transformers = importlib.import_module("transformers")
    source = {"revision": args.revision, "trust_remote_code": args.trust_remote_code}
    config = transformers.AutoConfig.from_pretrained(args.model, **source)
    model_class = _architecture(transformers, config) if args.task is None else _of_task(args.task)
    model = model_class.from_pretrained(args.model, dtype=_DTYPES[args.torch_dtype], **source)
    model = model.to(torch.device(args.device))
    quantized = QuantizedTransformersModel.quantize(model, weights=f"q{args.weights}")
    quantized.save_pretrained(args.output)


def _architecture(transformers: Any, config: Any) -> Any:
    """The class that the configuration names: transformers' own, or the automatic one of its code.

    Raises:
        ValueError: it names none that is there.
    """
    for name in config.architectures or []:
        if hasattr(transformers, name):
            return getattr(transformers, name)
        for automatic, reference in (getattr(config, "auto_map", None) or {}).items():
            if str(reference).rpartition(".")[2] == name:
                return getattr(transformers, automatic)
    raise ValueError(
        f"quantize: expected a known architecture, got {config.architectures}: give --task"
    )


def _of_task(task: str) -> Any:
    """The automatic class for one of optimum's tasks."""
    manager = importlib.import_module("optimum.exporters.tasks").TasksManager
    return manager.get_model_class_for_task(task, framework="pt", library="transformers")
