# SPDX-License-Identifier: Apache-2.0
"""The benchmark of fixed-point activations: its rounding is that of the kernel's definition."""

import torch

from benchmarks.fixed_point import MOST, fixed_point


def test_elements_near_the_largest_of_their_group_stay() -> None:
    x = (torch.arange(-127, 129) / 128).view(1, -1)
    assert torch.equal(fixed_point(x, 32), x)


def test_others_move_by_less_than_a_part_of_the_largest_of_their_group() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 256)
    x[1, 70] = 1000.0
    x[2, :64] = 0.0
    groups, found = x.view(3, -1, 64), fixed_point(x, 64).view(3, -1, 64)
    assert not torch.equal(found, groups)
    lost = (found - groups).abs().amax(-1)
    assert bool((lost <= groups.abs().amax(-1) / MOST).all())
    assert torch.equal(found[2, 0], torch.zeros(64))
