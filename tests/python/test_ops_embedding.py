"""Rows of a quantized weight: those that the whole weight has when it is dequantized."""

import pytest
import torch
from op_inputs import FLOATS, SCHEMES, Weight, quantized, scheme_id

from quanto import composite, library

embedding = torch.ops.quanto.embedding.default
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=scheme_id)


def dense(weight: Weight) -> torch.Tensor:
    if weight.shift is None:
        return library.dequantize_symmetric(weight.data, 0, weight.scale)
    args = (weight.data, weight.bits, 0, weight.group_size, list(weight.size))
    return library.dequantize_affine(*args, weight.scale, weight.shift)


@every_scheme
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("size", [(24, 96), (7, 96), (33, 32)], ids=str)
def test_rows(
    scheme: tuple[str, int | None, bool], dtype: torch.dtype, size: tuple[int, int]
) -> None:
    weight = quantized(scheme, size, dtype)
    indices = torch.randint(size[0], (3, 15), generator=torch.Generator().manual_seed(0))
    for index in (indices, indices.int(), indices[0], indices[0, 0], indices.t(), indices[:0]):
        result = embedding(*weight.embedding_args(index))
        assert result.dtype == dtype
        assert torch.equal(result, dense(weight)[index.long()])
        assert torch.equal(composite.embedding(*weight.embedding_args(index)), result)


def test_one_scale_for_all() -> None:
    weight = quantized(("qint8", None, False))
    one = Weight(weight.data, torch.tensor(0.5), None, 8, None, weight.size)
    index = torch.tensor([3, 5, 3])
    expected = weight.data[index] * 0.5
    assert torch.equal(embedding(*one.embedding_args(index)), expected)
    assert torch.equal(composite.embedding(*one.embedding_args(index)), expected)


@every_scheme
@pytest.mark.parametrize("bad", [-1, 24, 2**40])
@pytest.mark.parametrize("op", [embedding, composite.embedding], ids=["kernel", "composite"])
def test_an_index_out_of_range(scheme: tuple[str, int | None, bool], bad: int, op: object) -> None:
    weight = quantized(scheme)
    with pytest.raises(IndexError, match=rf"^embedding: expected indices in \[0, 24\), got {bad}$"):
        op(*weight.embedding_args(torch.tensor([0, bad, 1])))


@every_scheme
def test_the_number_of_threads_does_not_matter(scheme: tuple[str, int | None, bool]) -> None:
    weight, indices = quantized(scheme, (64, 256)), torch.arange(64).repeat(20)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(embedding(*weight.embedding_args(indices)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
