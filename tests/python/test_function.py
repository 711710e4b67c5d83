"""Gradients of the differentiable faces, against those of a float layer with the same weight."""

import pytest
import torch
from op_inputs import SCHEMES, quantized, random, scheme_id

from quanto import function

every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=scheme_id)


@every_scheme
def test_gradients_of_a_linear_layer(scheme: tuple[str, int | None, bool]) -> None:
    weight = quantized(scheme)
    x, bias = random((2, 3, 96)).requires_grad_(), random((24,), seed=4).requires_grad_()
    dense = weight.exact().float().requires_grad_()
    latent = random((24, 96), seed=5).requires_grad_()
    grad = random((2, 3, 24), seed=6)

    result = function.linear(*weight.linear_args(x, bias), weight=latent)
    result.backward(grad)
    ours = x.grad.clone(), bias.grad.clone(), latent.grad.clone()
    x.grad = bias.grad = None
    torch.nn.functional.linear(x, dense, bias).backward(grad)
    for mine, theirs in zip(ours, (x.grad, bias.grad, dense.grad), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_only_the_gradients_that_are_needed() -> None:
    weight = quantized(("qint4", 32, False))
    x = random((3, 96)).requires_grad_()
    result = function.linear(*weight.linear_args(x))
    input_only = result.grad_fn.saved_tensors
    assert input_only[0] is None  # the input is kept for the weight's gradient alone
    result.sum().backward()
    assert x.grad.shape == x.shape


def test_gradient_in_half_precision() -> None:
    weight = quantized(("qint4", 32, False), dtype=torch.bfloat16)
    x = random((3, 96), torch.bfloat16).requires_grad_()
    function.linear(*weight.linear_args(x)).sum().backward()
    assert x.grad.dtype == torch.bfloat16


@every_scheme
def test_compile_with_a_gradient(scheme: tuple[str, int | None, bool]) -> None:
    weight = quantized(scheme)
    x = random((3, 96)).requires_grad_()

    def loss(t: torch.Tensor) -> torch.Tensor:
        return function.linear(*weight.linear_args(t)).square().sum()

    loss(x).backward()
    expected, x.grad = x.grad, None
    torch._dynamo.reset()
    torch.compile(loss, fullgraph=True, backend="aot_eager")(x).backward()
    torch.testing.assert_close(x.grad, expected)
