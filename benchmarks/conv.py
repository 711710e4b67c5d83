# SPDX-License-Identifier: Apache-2.0
"""Times of quantized convolutions over torch's own, in one process, on one thread.

    python -m benchmarks.conv [--weights int8 int4] [--dtypes bfloat16 float32] [--rounds 10]

Calls take turns and the least thread time of each counts, so that neighbours on the machine
disturb it little. Below 1 the quantized convolution is the faster.
"""

import argparse
import time
from dataclasses import dataclass

import torch
from torch import nn

import quanto


@dataclass(frozen=True)
class Shape:
    """A square convolution with padding of half its kernel, of one square image."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    side: int

    def __str__(self) -> str:
        channels = f"{self.inputs} to {self.outputs}"
        kernel = f"{self.kernel}x{self.kernel}, stride {self.stride}"
        return f"{channels}, {kernel}, {self.groups} groups, {self.side}x{self.side}"


SHAPES = (
    Shape(144, 144, 3, 1, 144, 56),
    Shape(144, 144, 3, 2, 144, 56),
    Shape(240, 240, 5, 1, 240, 28),
    Shape(576, 576, 3, 1, 576, 14),
    Shape(384, 384, 7, 1, 384, 14),
    Shape(128, 128, 3, 1, 32, 56),
    Shape(256, 256, 3, 1, 32, 28),
    Shape(512, 512, 3, 1, 32, 14),
    Shape(128, 128, 3, 1, 8, 28),
    Shape(64, 64, 3, 1, 1, 56),
    Shape(128, 128, 3, 1, 1, 28),
    Shape(256, 256, 3, 1, 1, 14),
    Shape(64, 256, 1, 1, 1, 56),
    Shape(3, 64, 7, 2, 1, 224),
)
CALLS = 5


def layers(shape: Shape, dtype: torch.dtype, weights: list[str]) -> list[nn.Module]:
    """torch's convolution, then one of each kind of weight."""
    conv = nn.Conv2d(
        shape.inputs,
        shape.outputs,
        shape.kernel,
        shape.stride,
        shape.kernel // 2,
        groups=shape.groups,
        dtype=dtype,
    )
    found: list[nn.Module] = [conv]
    for weight in weights:
        layer = quanto.QConv2d.from_module(conv, weight)
        layer.freeze()
        assert isinstance(layer, nn.Module)
        found.append(layer)
    return found


def seconds(layer: nn.Module, x: torch.Tensor) -> float:
    """Thread time of one call."""
    start = time.thread_time()
    for _ in range(CALLS):
        layer(x)
    return (time.thread_time() - start) / CALLS


def main() -> None:
    """Prints a line for each shape and dtype."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.conv",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", nargs="+", default=["int8", "int4"])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for shape in SHAPES:
        for name in args.dtypes:
            dtype = getattr(torch, name)
            x = torch.randn(1, shape.inputs, shape.side, shape.side, dtype=dtype)
            modules = layers(shape, dtype, args.weights)
            with torch.inference_mode():
                turns = [[seconds(module, x) for module in modules] for _ in range(args.rounds)]
            torch_best, *best = (min(times) for times in zip(*turns, strict=True))
            ratios = (f"{w} {t / torch_best:.2f}" for w, t in zip(args.weights, best, strict=True))
            print(f"{shape}, {name}: torch {torch_best * 1e6:.0f} us,", ", ".join(ratios))


if __name__ == "__main__":
    main()
