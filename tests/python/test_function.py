"""Gradients of the differentiable faces, against those of a float layer with the same weight."""

import pytest
import torch
from op_inputs import (
    ACTIVATIONS,
    SCHEMES,
    Convolution,
    codes_of,
    convolution,
    quantized,
    random,
    scheme_id,
)
from torch.nn import functional as F

from quanto import function, library

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
    F.linear(x, dense, bias).backward(grad)
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


SCALE = torch.tensor(3 / 127)
dynamic_or_not = pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])


@dynamic_or_not
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@every_scheme
def test_gradients_of_a_quantized_linear_layer(
    scheme: tuple[str, int | None, bool], activation: torch.dtype, dynamic: bool
) -> None:
    weight, scale = quantized(scheme), None if dynamic else SCALE
    x, bias = random((2, 3, 96)).requires_grad_(), random((24,), seed=4).requires_grad_()
    latent, grad = random((24, 96), seed=5).requires_grad_(), random((2, 3, 24), seed=6)
    values = codes_of(x.detach(), scale, activation).float().requires_grad_()
    dense, offset = weight.exact().float().requires_grad_(), bias.detach().requires_grad_()

    args = weight.qlinear_args(x, scale, activation, bias)[:-1]
    result = function.qlinear(*args, weight=latent)
    assert torch.equal(result, library.qlinear(*args))
    result.backward(grad)
    F.linear(values, dense, offset).backward(grad)
    for mine, theirs in ((x, values), (latent, dense), (bias, offset)):
        torch.testing.assert_close(mine.grad, theirs.grad)


CONVOLUTIONS = [
    convolution(("qint8", None, False), (6, 4, 3, 3), padding=(1, 2), stride=(2, 1)),
    convolution(("qint4", 6, False), (6, 2, 3, 3), groups=2, dilation=(1, 2)),
    convolution(("qint2", None, True), (4, 1, 3, 3), groups=4),
]


@pytest.mark.parametrize("activation", [None, torch.int8, torch.float8_e4m3fn], ids=str)
@dynamic_or_not
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=["plain", "groups", "depthwise"])
@pytest.mark.parametrize("shape", [(2, 4, 7, 8), (4, 7, 8)], ids=str)
def test_gradients_of_a_convolution(
    conv: Convolution, shape: tuple[int, ...], dynamic: bool, activation: torch.dtype | None
) -> None:
    scale = None if dynamic or activation is None else SCALE
    x, bias = random(shape).requires_grad_(), random(conv.size[:1], seed=4).requires_grad_()
    latent = random(conv.size, seed=5).requires_grad_()
    values = x.detach()
    if activation is not None:
        images = shape[0] if len(shape) == 4 else 1
        values = codes_of(values, scale, activation, images).float()
    values.requires_grad_()
    dense, offset = conv.exact().float().requires_grad_(), bias.detach().requires_grad_()

    args = conv.args(x, bias, activation, scale)[:-1]
    result = function.conv2d(*args, weight=latent)
    assert torch.equal(result, library.conv2d(*args))
    grad = random(tuple(result.shape), seed=6)
    result.backward(grad)
    F.conv2d(values, dense, offset, *conv.geometry).backward(grad)
    for mine, theirs in ((x, values), (latent, dense), (bias, offset)):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_a_source_receives_the_gradient_of_its_codes() -> None:
    """Codes have no gradient; the quantized tensor that holds them takes their place."""
    weight, conv = quantized(("qint8", None, False)), CONVOLUTIONS[0]
    for shape, dense, face, args in (
        ((5, 96), weight.exact(), function.qlinear, weight.qlinear_args),
        ((2, 4, 7, 8), conv.exact(), function.conv2d, None),
    ):
        x = random(shape)
        codes = library.quantize_symmetric(x, torch.int8, None, SCALE)
        values = library.dequantize_symmetric(codes, None, SCALE).requires_grad_()
        if args is None:
            call = conv.args(codes, None, torch.int8, SCALE)[:-1]
            expected = F.conv2d(values, dense.float(), None, *conv.geometry)
        else:
            call = args(codes, SCALE, torch.int8)[:-1]
            expected = F.linear(values, dense.float())
        source = x.clone().requires_grad_()
        result = face(*call, source=source)
        result.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(source.grad, values.grad)


@pytest.mark.parametrize("padding", [None, 3, -2])
@every_scheme
def test_gradient_of_an_embedding(
    scheme: tuple[str, int | None, bool], padding: int | None
) -> None:
    weight, latent = quantized(scheme), random((24, 96)).requires_grad_()
    dense = weight.exact().float().requires_grad_()
    index, grad = torch.tensor([[3, 22, 3], [0, 5, 22]]), random((2, 3, 96), seed=6)
    args = weight.embedding_args(index)
    result = function.embedding(*args, weight=latent, padding_idx=padding)
    assert torch.equal(result, library.embedding(*args))
    result.backward(grad)
    F.embedding(index, dense, padding_idx=padding).backward(grad)
    torch.testing.assert_close(latent.grad, dense.grad)


def test_compile_with_gradients_of_every_layer() -> None:
    weight, conv, rows = quantized(("qint4", 32, False)), CONVOLUTIONS[1], torch.tensor([1, 2])
    latent, kernel = random((24, 96)), random(conv.size)

    def loss(t: torch.Tensor, image: torch.Tensor, w: torch.Tensor, k: torch.Tensor) -> object:
        a = function.qlinear(*weight.qlinear_args(t, None, torch.int8)[:-1], weight=w)
        b = function.conv2d(*conv.args(image, None, torch.int8, SCALE)[:-1], weight=k)
        c = function.embedding(*weight.embedding_args(rows), weight=w)
        return a.square().sum() + b.square().sum() + (c * w[:2]).sum()

    inputs = [t.requires_grad_() for t in (random((3, 96)), random((2, 4, 7, 8)), latent, kernel)]
    expected = torch.autograd.grad(loss(*inputs), inputs)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    mine = torch.autograd.grad(compiled(*inputs), inputs)
    for a, b in zip(mine, expected, strict=True):
        torch.testing.assert_close(a, b)
