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


def dense_bound(
    x: torch.Tensor, w: torch.Tensor, magnitude: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """`matmul_bound` where the weight was rounded to `dtype` on the way, up to three times.

    Product, difference and cast each lose half an eps of the terms' `magnitude` at most.
    """
    lost = 1.5 * _EPS[dtype] * (x.double().abs() @ magnitude.t())
    return matmul_bound(x, w, None, dtype, magnitude) + lost


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
