"""The operators under export and compile: they trace, and sizes that vary stay symbolic."""

from collections.abc import Callable

import pytest
import torch
from op_inputs import SCHEMES, quantized, random, scheme_id

ops = torch.ops.quanto


class Linear(torch.nn.Module):
    def __init__(self, scheme: tuple[str, int | None, bool]) -> None:
        super().__init__()
        self.weight = quantized(scheme)
        for name in ("data", "scale", "shift"):
            self.register_buffer(name, getattr(self.weight, name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        tensors = (self.data, self.scale, self.shift, None)
        return ops.linear(x, *tensors, weight.bits, weight.group_size, weight.size[0])


@pytest.mark.parametrize("scheme", SCHEMES, ids=scheme_id)
def test_export_with_any_number_of_rows(scheme: tuple[str, int | None, bool]) -> None:
    module, x = Linear(scheme), random((4, 96))
    rows = torch.export.Dim("rows", min=1, max=4096)
    exported = torch.export.export(module, (x,), dynamic_shapes=({0: rows},)).module()
    for count in (1, 4, 7):
        inputs = random((count, 96), seed=count)
        assert torch.equal(exported(inputs), module(inputs))


STEP = torch.tensor(0.1)
WEIGHT = (torch.ones(5, 32, dtype=torch.int8), torch.ones(5, 1), None, None)
KERNEL = (torch.ones(54, dtype=torch.int8), torch.ones(1), None, None)
GEOMETRY = ([2, 1], [1, 1], [1, 1], 1)
SHAPED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "quantize_symmetric": lambda t: ops.quantize_symmetric(t, torch.int8, None, torch.tensor(0.1)),
    "quantize_affine": lambda t: ops.quantize_affine(
        t, 4, 0, 16, torch.ones(2 * t.shape[0], 1), torch.ones(2 * t.shape[0], 1)
    ),
    "pack": lambda t: ops.pack(t.to(torch.uint8), 4),
    "unpack": lambda t: ops.unpack(t.to(torch.uint8), 2),
    "dequantize_symmetric": lambda t: ops.dequantize_symmetric(
        t.to(torch.int8), None, torch.tensor(0.1)
    ),
    "absmax_scale": lambda t: ops.absmax_scale(t, "qint8", 0),
    "max_scale": lambda t: ops.max_scale(t, 4, 0, 16, False)[0],
    "hqq_scale": lambda t: ops.hqq_scale(t, 4, 0, 16, True, 0.7, 10.0, 1.01, 20)[1],
    "qlinear": lambda t: ops.qlinear(t, STEP, *WEIGHT, 8, None, 5, torch.int8, None),
    "qlinear-dynamic": lambda t: ops.qlinear(t, None, *WEIGHT, 8, None, 5, torch.int8, None),
    "qlinear-codes": lambda t: ops.qlinear(
        t.to(torch.int8), STEP, *WEIGHT, 8, None, 5, torch.int8, STEP
    ),
    "conv2d": lambda t: ops.conv2d(
        t.reshape(-1, 2, 4, 4),
        None,
        KERNEL[0].reshape(3, 2, 3, 3),
        *KERNEL[1:],
        8,
        None,
        [3, 2, 3, 3],
        *GEOMETRY,
        None,
        None,
    ),
    "conv2d-of-any-height": lambda t: ops.conv2d(
        t[None, None],
        STEP,
        KERNEL[0].reshape(6, 1, 3, 3),
        *KERNEL[1:],
        8,
        None,
        [6, 1, 3, 3],
        *GEOMETRY,
        torch.int8,
        STEP,
    ),
    "embedding": lambda t: ops.embedding(t.long(), *WEIGHT[:3], 8, None, 5, 32),
    "moving_absmax_scale": lambda t: ops.moving_absmax_scale(STEP, t, "qint8", 0.9),
    "qbytes_mm": lambda t: ops.qbytes_mm(t, torch.ones(5, 32, dtype=torch.int8), torch.ones(5, 1)),
}


@pytest.mark.parametrize("op", list(SHAPED))
def test_sizes_stay_symbolic(op: str) -> None:
    """One trace serves every number of rows."""
    traces = 0

    def count(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        nonlocal traces
        traces += 1
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(SHAPED[op], backend=count, dynamic=True, fullgraph=True)
    for rows in (4, 6, 10):
        t = random((rows, 32), seed=rows).abs()
        assert torch.equal(compiled(t), SHAPED[op](t))
    assert traces == 1


def test_compile_fullgraph() -> None:
    module, x = Linear(("qint4", 32, False)), random((4, 96))
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), module(x))
