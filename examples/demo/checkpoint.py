"""A quantized model on disk: safetensors, the quantization map and the config."""

import json
from pathlib import Path
from typing import Any

import torch

import quanto

TENSORS = "model.safetensors"
MAP = "quantization_map.json"


def save(model: Any, path: Path) -> None:
    """Writes `model` to the directory `path`."""
    path.mkdir(parents=True, exist_ok=True)
    quanto.safe_save(model.state_dict(), path / TENSORS)
    (path / MAP).write_text(json.dumps(quanto.quantization_map(model), indent=2))
    model.config.save_pretrained(path)


def reload(path: Path, dtype: torch.dtype) -> Any:
    """The model of `save`, built without float weights: its parameters start on the meta device."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(path, local_files_only=True)
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    quantization_map = json.loads((path / MAP).read_text())
    quanto.requantize(model, quanto.safe_load(path / TENSORS), quantization_map, device="cpu")
    model.tie_weights()
    return model.eval()
