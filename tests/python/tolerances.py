"""Every tolerance of the Python tests, with its reason."""

import torch

SCALE_ULPS = 1
"""Scales and shifts: one rounding of their dtype (torch divides by a constant either way)."""

HQQ_OBJECTIVE = 1.001
"""HQQ's mean absolute error against the golden one: its shifts come from means and powers whose
last bits depend on the order of summation, and each may move a code across a tie."""

MODEL_ERROR = 4
"""Logits of a whole model: how much further than the library's own they may be from those of the
dense model in float64. Both lose one rounding an operation; which of them is nearer is chance."""

CODE_STEPS = 1
"""Quantized logits of a whole model, in steps of their scale: a sum that falls on the border of two
codes, in this layer or before it, may be rounded to either side by the order of summation."""

SCALE_PRODUCT_ULPS = 2
"""A product of codes under two scales: the library rounds the scales' product to their dtype before
it multiplies; ours is rounded once, at the end."""

FUNCTION = {"rtol": 1.3e-6, "atol": 1e-6}
"""Float32 functions of torch (gelu) on equal inputs: its vector code differs between CPUs."""

CALIBRATION_ULPS = {torch.float32: 32, torch.bfloat16: 2}
"""Scales of a calibrated model, which carry the order of summation of the layers before them: in
bfloat16 that may move the rounding of a value, and the moving average's own."""

CALIBRATION_OUTPUT = {torch.float32: 1e-4, torch.bfloat16: 2.0**-6}
"""Results of a calibrated model, as a share of the largest: the order of summation through up to
six layers, or two roundings to bfloat16."""

GOLDEN_CODES = {torch.float32: 0.99, torch.float16: 0.8, torch.bfloat16: 0.8}
"""The share of a quantized layer's output codes that must be the golden ones, all others being next
to them: in half precision the library rounds before it quantizes, products of scales included."""

MAPPED_SHARE = 0.1
"""Of a checkpoint's bytes, what loading may add to anonymous memory: the modules themselves and the
few tensors that are not weights. A copy of the weights would be all of them."""

FIRST_LOAD_MIB = 12
"""What quantizing on the fly may hold beside codes, scales and one float weight: modules, and code
and threads of the libraries that the first load of a process brings in."""

PACKAGE_CODE_BYTES = 8 << 20
"""Of a package, what is not its tensors: sources and machine code of about sixty calls. The dense
weights of the model would be more than three times as much."""

EXAMPLE_PERPLEXITY = 1.15
"""The bundled model of 260 thousand parameters loses 8 % with int4 and int8 activations."""

EXAMPLE_SPEARMAN = 0.8
"""On ten pairs, where exchanging two neighbours costs 0.012; the float model has 0.93."""

_EPS = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


def matmul_bound(
    x: torch.Tensor,
    w: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
    magnitude: torch.Tensor | None = None,
) -> torch.Tensor:
    """How far `x @ w.T + bias` may be from the exact one, element by element.

    Sums of K products in fp32, in any order, of weights that carry one fp32 rounding each:
    (K + 2) * eps32 * sum |x| |w|; then one rounding of the result to `dtype`. A weight that is a
    sum of terms (|scale * q| + |shift|, which may be added up apart) gives theirs as `magnitude`.
    """
    exact = x.double() @ w.double().t()
    terms = x.double().abs() @ (w.double().abs() if magnitude is None else magnitude).t()
    if bias is not None:
        exact = exact + bias.double()
        terms = terms + bias.double().abs()
    summed = (x.shape[-1] + 2) * _EPS[torch.float32] * terms
    return summed + _EPS[dtype] * (exact.abs() + summed)


def convolution_bound(
    x: torch.Tensor,
    w: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
    magnitude: torch.Tensor,
    geometry: tuple[list[int], list[int], list[int], int],
) -> torch.Tensor:
    """`matmul_bound` of a convolution: K is the number of elements of one output's weight.

    One more eps32 for a bias and a scale of activations, which K of few taps does not cover.
    """
    conv2d = torch.nn.functional.conv2d
    wide = None if bias is None else bias.double()
    exact = conv2d(x.double(), w.double(), wide, *geometry)
    terms = conv2d(x.double().abs(), magnitude, None if wide is None else wide.abs(), *geometry)
    summed = (w[0].numel() + 3) * _EPS[torch.float32] * terms
    return summed + _EPS[dtype] * (exact.abs() + summed)


def dense_bound(
    x: torch.Tensor, w: torch.Tensor, magnitude: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """`matmul_bound` where the weight was rounded to `dtype` on the way, up to three times.

    Product, difference and cast each lose half an eps of the terms' `magnitude` at most.
    """
    lost = 1.5 * _EPS[dtype] * (x.double().abs() @ magnitude.t())
    return matmul_bound(x, w, None, dtype, magnitude) + lost


def input_rounding(terms: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What one more rounding to `dtype` of a factor of `terms` loses: half an eps of them."""
    return 0.5 * _EPS[dtype] * terms


def subnormal_rounding(terms: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What rounding a subnormal factor of `terms` loses: half of the smallest number."""
    return 0.5 * torch.finfo(dtype).smallest_normal * _EPS[dtype] * terms


def ulps(a: torch.Tensor, b: torch.Tensor) -> int:
    """The largest distance of two float tensors, in representable values of their dtype."""
    assert a.dtype == b.dtype, f"expected {b.dtype}, got {a.dtype}"
    if a.numel() == 0:
        return 0
    integer = torch.int32 if a.dtype == torch.float32 else torch.int16
    sign = torch.iinfo(integer).min

    def ordered(t: torch.Tensor) -> torch.Tensor:
        bits = t.contiguous().view(integer).long()
        return torch.where(bits < 0, sign - bits, bits)

    return int((ordered(a) - ordered(b)).abs().max())


def sum_bound(
    exact: torch.Tensor, terms: torch.Tensor, count: int, dtype: torch.dtype
) -> torch.Tensor:
    """`matmul_bound` of any sum: `count` products whose magnitudes add up to `terms`."""
    summed = (count + 2) * _EPS[torch.float32] * terms
    return summed + _EPS[dtype] * (exact.abs() + summed)


def lost_by_dense_weights(terms: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What a weight loses that is rounded to `dtype` on the way, up to three times.

    Product, difference and cast each lose half an eps of the terms at most; float32 is in the sum's
    own bound.
    """
    return 0 * terms if dtype == torch.float32 else 1.5 * _EPS[dtype] * terms


def layer_norm_bound(
    x: torch.Tensor, exact: torch.Tensor, terms: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """A layer norm's: mean and variance are sums over the row in float32, then one rounding."""
    return sum_bound(exact, terms, 2 * x.shape[-1], dtype)
