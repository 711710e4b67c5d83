# SPDX-License-Identifier: Apache-2.0
"""transformers' quantized KV cache, whose backend "quanto" is this package."""

import pytest
import torch
from hf_models import IDS, llama

import quanto

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
cache_utils = pytest.importorskip("transformers.cache_utils")

GROUP = 4  # must divide what an index of the axis holds: for the last, heads times tokens
every_cache = pytest.mark.parametrize(
    ("nbits", "axis"), [(4, 0), (4, -1), (2, 0), (2, -1)], ids=lambda value: str(value)
)


def options(nbits, axis, residual):
    return {
        "nbits": nbits,
        "axis_key": axis,
        "axis_value": axis,
        "q_group_size": GROUP,
        "residual_length": residual,
    }


@every_cache
@pytest.mark.parametrize("residual", [1, 128], ids=["requantized", "residual"])
def test_generate(nbits, axis, residual):
    model = llama(num_key_value_heads=4)
    config = {"backend": "quanto"} | options(nbits, axis, residual)
    result = model.generate(
        IDS,
        max_new_tokens=6,
        do_sample=False,
        cache_implementation="quantized",
        cache_config=config,
        return_dict_in_generate=True,
        output_logits=True,
    )
    assert result.sequences.shape == (1, IDS.shape[1] + 6)
    layer = result.past_key_values.layers[0]
    assert isinstance(layer._quantized_keys, quanto.WeightQBitsTensor)
    assert layer._quantized_keys.qtype == (quanto.qint4 if nbits == 4 else quanto.qint2)
    with torch.no_grad():  # the prompt is computed before anything is quantized
        assert torch.equal(result.logits[0], model(IDS, logits_to_keep=1).logits[:, -1])
    assert all(step.isfinite().all() for step in result.logits)


def half_steps(values: torch.Tensor, nbits: int, axis: int) -> torch.Tensor:
    """Half a step of each value's group, and the roundings of scale, shift and product."""
    groups = quanto.group(values, axis, GROUP)
    dim = 1 if axis == 0 else 0
    low = groups.amin(dim, keepdim=True).clamp(max=0)
    high = groups.amax(dim, keepdim=True).clamp(min=0)
    bound = ((high - low) / (2**nbits - 1) / 2).expand_as(groups)
    bound = bound + 8 * torch.finfo(values.dtype).eps * torch.maximum(-low, high)
    return quanto.ungroup(bound.contiguous(), axis, values.shape)


@every_cache
def test_cached_values_are_within_half_a_step(nbits, axis):
    model = llama(num_key_value_heads=4)
    exact = cache_utils.DynamicCache()
    quantized = cache_utils.QuantizedCache("quanto", model.config, **options(nbits, axis, 1))
    with torch.no_grad():
        model(IDS, past_key_values=exact)
        model(IDS, past_key_values=quantized)
    for ours, theirs in zip(quantized.layers, exact.layers, strict=True):
        for cached, values in (
            (ours._quantized_keys, theirs.keys),
            (ours._quantized_values, theirs.values),
        ):
            assert cached.shape == values.shape
            error = (cached.dequantize() - values).abs()
            assert (error <= half_steps(values, nbits, axis)).all()


@every_cache
def test_a_step_is_that_of_a_float_cache_with_the_same_values(nbits, axis):
    model = llama(num_key_value_heads=4)
    quantized = cache_utils.QuantizedCache("quanto", model.config, **options(nbits, axis, 128))
    floats = cache_utils.DynamicCache()
    with torch.no_grad():
        model(IDS, past_key_values=quantized)
        for index, layer in enumerate(quantized.layers):
            keys = layer._quantized_keys.dequantize()
            floats.update(keys, layer._quantized_values.dequantize(), index)
        token = torch.tensor([[7]])
        expected = model(token, past_key_values=floats).logits
        assert torch.equal(model(token, past_key_values=quantized).logits, expected)


def test_a_quantized_model_with_a_quantized_cache():
    model = llama(num_key_value_heads=4)
    quanto.quantize(model, weights="int8")
    quanto.freeze(model)
    config = {"backend": "quanto"} | options(4, 0, 1)
    ids = model.generate(
        IDS,
        max_new_tokens=4,
        do_sample=False,
        cache_implementation="quantized",
        cache_config=config,
    )
    assert ids.shape == (1, IDS.shape[1] + 4)
