"""Frozen modules compile in one graph and export."""

import io

import pytest
import torch
from frozen_models import INPUT, every_scheme, frozen_model, unfrozen_model
from torch import nn
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@every_scheme
def test_compiles_without_a_break(scheme):
    model = frozen_model(scheme)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(INPUT), model(INPUT))
    torch._dynamo.reset()
    explained = torch._dynamo.explain(model)(INPUT)
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)


@every_scheme
def test_compiles_with_a_dynamic_batch(scheme):
    model = frozen_model(scheme)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    with torch.no_grad():
        for rows in (2, 4, 7):
            x = torch.randn(rows, 32)
            torch.testing.assert_close(compiled(x), model(x))


@every_scheme
@pytest.mark.parametrize("make", [frozen_model, unfrozen_model], ids=["frozen", "unfrozen"])
def test_compiles_for_training(scheme, make):
    model = make(scheme)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    grads = []
    for forward in (compiled, model):
        model.zero_grad()
        x = INPUT.clone().requires_grad_()
        forward(x).square().sum().backward()
        weight = model[0].weight.grad
        grads.append([x.grad, model[0].bias.grad, *([] if weight is None else [weight])])
    assert len(grads[0]) == (2 if make is frozen_model else 3)
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs)


class Functional(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return F.linear(x, self.layer.weight, self.layer.bias)


@every_scheme
def test_functional_linear_compiles(scheme):
    module = Functional(frozen_model(scheme)[0])
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(INPUT), module(INPUT))


def test_inductor_runs_it():
    model = frozen_model("qint4")
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True)(INPUT), model(INPUT))


@every_scheme
def test_exports_saves_and_loads(scheme):
    model = frozen_model(scheme).eval()
    program = torch.export.export(model, (INPUT,))
    torch.testing.assert_close(program.module()(INPUT), model(INPUT))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert targets.count("quanto.linear.default") == 2
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    torch.testing.assert_close(torch.export.load(buffer).module()(INPUT), model(INPUT))


@every_scheme
def test_exports_with_a_dynamic_batch(scheme):
    model = frozen_model(scheme).eval()
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(model, (INPUT,), dynamic_shapes=({0: batch},))
    x = torch.randn(9, 32)
    torch.testing.assert_close(program.module()(x), model(x))
