"""torch.library.opcheck over every schema, with and without inputs that require a gradient."""

from typing import Any

import pytest
import torch
from op_inputs import FLOATS, call_of_every_op, every_call
from torch.library import opcheck

WITHOUT_TENSORS = {
    "automatic_group_size",
    "qtype_table",
    "plan",
    "plan_conv2d",
    "isa",
    "available_isas",
}


def test_every_schema_has_a_call() -> None:
    schemas = torch._C._jit_get_all_schemas()
    names = {s.name.removeprefix("quanto::") for s in schemas if s.name.startswith("quanto::")}
    assert names == set(call_of_every_op()) | WITHOUT_TENSORS


def needing_gradients(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        a.detach().clone().requires_grad_()
        if isinstance(a, torch.Tensor) and a.dtype in FLOATS
        else a
        for a in args
    )


def is_float8(dtype: Any) -> bool:
    return isinstance(dtype, torch.dtype) and str(dtype).startswith("torch.float8")


def gives_float8(args: tuple[Any, ...]) -> bool:
    """A layer with an output scale gives codes of its activation dtype, the last but one."""
    return is_float8(args[-2]) and args[-1] is not None


@pytest.mark.parametrize(("op", "args"), every_call())
def test_opcheck(op: str, args: tuple[Any, ...]) -> None:
    opcheck(getattr(torch.ops.quanto, op).default, args)


# torch's warning when a backward pass meets an operator without a gradient.
@pytest.mark.filterwarnings("ignore:.*an autograd kernel was not registered:UserWarning")
@pytest.mark.parametrize(("op", "args"), every_call())
def test_opcheck_with_gradients(op: str, args: tuple[Any, ...]) -> None:
    """No gradient passes an operator, so none may leak out of what it calls."""
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    # The last check sums up the result, which torch cannot in float8.
    if not (op == "quantize_symmetric" and is_float8(args[1])) and not gives_float8(args):
        checks.append("test_aot_dispatch_dynamic")
    opcheck(getattr(torch.ops.quanto, op).default, needing_gradients(args), test_utils=checks)


@pytest.mark.parametrize(("op", "args"), every_call())
def test_no_gradient_leaks(op: str, args: tuple[Any, ...]) -> None:
    results = getattr(torch.ops.quanto, op)(*needing_gradients(args))
    for result in results if isinstance(results, tuple) else (results,):
        assert result.grad_fn is None or "NotImplemented" in result.grad_fn.name()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_meta_agrees_with_the_kernel(dtype: torch.dtype) -> None:
    for op, calls in call_of_every_op(dtype).items():
        for args in calls:
            overload = getattr(torch.ops.quanto, op)
            meta_args = [a.to("meta") if isinstance(a, torch.Tensor) else a for a in args]
            real, meta = overload(*args), overload(*meta_args)
            pairs = zip(real, meta, strict=True) if isinstance(real, tuple) else [(real, meta)]
            for r, m in pairs:
                assert m.device.type == "meta", op
                assert (m.shape, m.dtype, m.stride()) == (r.shape, r.dtype, r.stride()), op
