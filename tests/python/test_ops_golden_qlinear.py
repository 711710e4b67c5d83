"""Linear layers with static activations: ours and optimum-quanto's about the same exact results."""

import golden
import pytest
import torch
from op_inputs import Weight
from tolerances import dense_bound, input_rounding, matmul_bound, subnormal_rounding

from quanto import library, qtypes

_CALLS = ("QLinear.from_module", "the same, forward(quantize_activation(x")
CASES = [
    case
    for case in golden.cases("modules").values()
    if case.call.startswith(_CALLS)
    and case.params.get("activations") is not None
    and "in_features" in case.params
]


def weight_of(case: golden.Case) -> Weight:
    state, qtype = case.inputs, qtypes[case.params["weights"]]
    size = (case.params["out_features"], case.params["in_features"])
    if qtype.bits == 8:
        tensors = (state["state.weight._data"], state["state.weight._scale"], None)
    else:
        names = ("_data._data", "_scale", "_shift")
        tensors = tuple(state[f"state.weight.{name}"] for name in names)
    return Weight(*tensors, qtype.bits, case.params["group_size"], size)


def between(
    codes: torch.Tensor, exact: torch.Tensor, bound: torch.Tensor, scale: torch.Tensor
) -> bool:
    """Rounding and clamping keep the order, so `exact +- bound` gives the codes at either end."""

    def quantized(values: torch.Tensor) -> torch.Tensor:
        steps = values / scale.double()
        if codes.dtype == torch.int8:
            return steps.round().clamp(-128, 127)
        limit = torch.finfo(codes.dtype).max
        return steps.clamp(-limit, limit).to(codes.dtype).double()

    values = codes.double()
    low, high = quantized(exact - bound), quantized(exact + bound)
    return bool(((values >= low) & (values <= high)).all())


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_codes(case: golden.Case) -> None:
    weight, x, bias = weight_of(case), case.inputs["x"], case.inputs.get("state.bias")
    activation, dtype = qtypes[case.params["activations"]].dtype, x.dtype
    scale = case.inputs.get("x_scale", case.inputs["state.input_scale"])
    output_scale = case.inputs["state.output_scale"]
    mine = library.qlinear(*weight.qlinear_args(x, scale, activation, bias, output_scale))
    theirs = case.outputs["output_data"]
    assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)

    codes = library.quantize_symmetric(x, activation, None, scale)
    values, exact_weight = codes.double() * scale.double(), weight.exact()
    exact = values @ exact_weight.t() + (0 if bias is None else bias.double())
    # The quotient is rounded to the dtype before it becomes a code.
    tight = matmul_bound(values, exact_weight, bias, dtype, weight.magnitude())
    tight = tight + input_rounding(exact.abs() + tight, dtype)
    assert between(mine, exact, tight, output_scale)
    # Theirs dequantizes input and weight, each to the dtype, before it multiplies, or multiplies
    # codes and then by the product of their scales in that dtype, which may be subnormal.
    terms = values.abs() @ weight.magnitude().t()
    wide = tight + dense_bound(values, exact_weight, weight.magnitude(), dtype)
    wide = wide + input_rounding(terms, dtype)
    if weight.bits == 8:
        products = codes.double().abs() @ weight.data.double().abs().t()
        wide = wide + subnormal_rounding(products, dtype)
    assert between(theirs, exact, wide, output_scale)
