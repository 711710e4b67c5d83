# SPDX-License-Identifier: Apache-2.0
"""What the operators say about themselves."""

from collections.abc import Sequence

import torch

from ._call import BYTES, FLOAT, call


def automatic_group_size(elements: int) -> int | None:
    """The group size of 2- and 4-bit weights when none is asked for.

    `elements` are those of one output: the first of 128, 96, 64 and 32 that divides them if they
    are more than 128, else None, one scale per output.
    """
    size: int | None = torch.ops.quanto.automatic_group_size(elements)
    return size


def plan(
    activation: torch.dtype,
    qtype: str,
    rows: int,
    in_features: int,
    out_features: int,
    group_size: int | None,
    shift: str,
) -> tuple[str, str]:
    """The kernel that `linear` would run on the CPU, and its instruction set.

    `activation` is the dtype of the input: a float one, or int8 or a float8 type for the codes that
    `qlinear` multiplies. `shift` is "none" (8 bits), "float" or "integer".
    """
    op = torch.ops.quanto.plan.default
    args = (activation, qtype, rows, in_features, out_features, group_size, shift)
    name, isa = call(op, *args, expected=((activation, FLOAT | BYTES),)).split()
    return name, isa


def plan_conv2d(
    activation: torch.dtype,
    qtype: str,
    pixels: int,
    size: Sequence[int],
    stride: Sequence[int],
    groups: int,
    group_size: int | None,
    shift: str,
) -> tuple[str, str]:
    """`plan` of a convolution with a weight of shape `size`, to planes of `pixels`.

    conv_tiles and conv_planes are ways without patches; any other name is the kernel of `linear`
    that multiplies them.
    """
    op = torch.ops.quanto.plan_conv2d.default
    args = (activation, qtype, pixels, list(size), list(stride), groups, group_size, shift)
    name, isa = call(op, *args, expected=((activation, FLOAT | BYTES),)).split()
    return name, isa


def isa() -> str:
    """The instruction set the CPU kernels use; QUANTO_FORCE_ISA names another."""
    name: str = torch.ops.quanto.isa()
    return name


def available_isas() -> list[str]:
    """The instruction sets this CPU can run, best first; the last is "ref"."""
    names: str = torch.ops.quanto.available_isas()
    return names.split(",")
