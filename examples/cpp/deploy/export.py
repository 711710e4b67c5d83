# SPDX-License-Identifier: Apache-2.0
"""Quantizes a small encoder and packages it for a program without Python.

    python -m examples.cpp.deploy.export OUT [--weights int4] [--activations int8 [--dynamic]]

OUT becomes a folder with model.pt2, inputs.pt and outputs.pt: what run.cc takes, and what it should
write. The batch size may vary from call to call.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import nn

import quanto

from .model import Encoder, sentences

MAX_BATCH = 1024
PORTABLE = {"cpp.march": "x86-64-v3", "cpp.simdlen": 256}


def quantized(weights: str, activations: str | None, dynamic: bool) -> nn.Module:
    """The encoder, embedding included, frozen."""
    torch.manual_seed(0)
    model = Encoder().eval()
    quanto.quantize(
        model,
        weights=weights,
        activations=activations,
        dynamic=dynamic,
        include=["tokens", "blocks.*", "norm"],
    )
    if activations and not dynamic:
        with torch.no_grad(), quanto.Calibration():
            model(sentences(64, seed=1))
    quanto.freeze(model)
    return model


def package(model: nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> None:
    """`model` as a .pt2 file that takes any batch size; options are those of inductor."""
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    with torch.no_grad():
        program = torch.export.export(
            model, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs)
        )
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=options
        )


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description="Package a quantized encoder.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", default="int4")
    parser.add_argument("--activations")
    parser.add_argument("--dynamic", action="store_true", help="a scale per token: not calibrated")
    parser.add_argument(
        "--portable",
        action="store_true",
        help="for any CPU with AVX2, not only for one like this (x86-64)",
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = quantized(arguments.weights, arguments.activations, arguments.dynamic)
    ids = sentences(8, seed=2)
    options = PORTABLE if arguments.portable else {}
    package(model, (ids,), arguments.out / "model.pt2", **options)
    torch.save((ids,), arguments.out / "inputs.pt")
    with torch.no_grad():
        torch.save([model(ids)], arguments.out / "outputs.pt")
    for file in sorted(arguments.out.iterdir()):
        print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
