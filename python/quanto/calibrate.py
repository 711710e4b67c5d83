# SPDX-License-Identifier: Apache-2.0
"""Finding the scales of quantized activations on sample batches."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle
from typing_extensions import Self

from . import library
from .nn.activations import QuantizedActivations, active_calibration, set_calibration
from .qtype import qint8
from .tensor.activations import ActivationQBytesTensor, quantize_activation
from .tensor.core import absmax_scale  # noqa: F401  (found here in optimum.quanto)
from .tensor.qtensor import QTensor

# They multiply int8 codes; everything else keeps codes as they are (views, relu), or dequantizes.
_PRODUCTS = frozenset(
    {
        torch.bmm,
        torch.einsum,
        torch.matmul,
        torch.mm,
        torch.Tensor.bmm,
        torch.Tensor.matmul,
        torch.Tensor.mm,
        torch.Tensor.__matmul__,
    }
)


def active() -> "Calibration | None":
    """The calibration that runs, if any."""
    return active_calibration()


class Calibration(TorchFunctionMode):
    """Sets the scales of a quantized model from the batches that it runs meanwhile.

    ::

        with Calibration():
            for batch in batches:
                model(batch)

    Every module with static activations takes the largest magnitude of its input and of its output:
    the first as it is, later ones averaged with `momentum * old + (1 - momentum) * new`. An input
    that is quantized already hands over its scale. Scales carry no gradient.

    With `streamline`, outputs that nobody needs quantized stay float, from the end of a model's
    first batch on: quantized modules quantize a float input inside their operator, by a scale of
    their own, so what needs codes is a product of two quantized tensors (attention without a fused
    function). The model's result is float then. Every run decides anew; only a call of
    `disable_output_quantization()` is for good.

    Args:
        momentum: the share of the old scale, from 0 to 1.
        streamline: whether to keep outputs float where codes are not needed.
        debug: print the scale of every quantized module after each forward of its parent.

    Modules that are called on their own, not by a model, keep their outputs as they are. Runs may
    be nested; the inner one takes over. Scales found before an exception stay.
    """

    def __init__(
        self, *, momentum: float = 0.9, streamline: bool = True, debug: bool = False
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"Calibration: expected momentum from 0 to 1, got {momentum}")
        self.momentum = momentum
        self.streamline = streamline
        self.debug = debug
        self._runs: list[_Run] = []

    def __enter__(self) -> Self:
        run = _Run(set_calibration(self))
        self._runs.append(run)
        run.handles = [
            register_module_forward_pre_hook(self._entered),
            register_module_forward_hook(self._done),
            register_module_forward_hook(self._left, always_call=True),
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        run = self._runs.pop()
        for handle in run.handles:
            handle.remove()
        set_calibration(run.previous)
        if exception[0] is not None:
            run.undo()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the function; note whose codes it multiplies, and whose it passes on."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if ActivationQBytesTensor in types:
            self._follow(func, args, result)
        return result

    def _follow(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        makers = [maker for arg in args for maker in _makers(arg)]
        if func in _PRODUCTS and all(_int8(arg) for arg in args if isinstance(arg, torch.Tensor)):
            self._runs[-1].needed.update(makers)
        for part in result if isinstance(result, list | tuple) else (result,):
            if isinstance(part, ActivationQBytesTensor) and makers:
                part.src_module = makers[0] if len(makers) == 1 else tuple(makers)

    # What a quantized module calls from its forward, in the place of quantizing by itself.

    def observe_input(self, module: QuantizedActivations, input: torch.Tensor) -> None:
        """Update the module's input scale."""
        if module.dynamic:
            return
        self._runs[-1].see(module)
        if isinstance(input, ActivationQBytesTensor):
            module.check_activation(input)
            with torch.inference_mode(False), torch.no_grad():
                module.input_scale = input._scale.clone()
        else:
            module.input_scale = self._updated(module, module.input_scale, input)

    def observe_output(self, module: QuantizedActivations, output: torch.Tensor) -> torch.Tensor:
        """Update the module's output scale; the output, quantized where it is on."""
        if module.dynamic:
            return output
        module.output_scale = self._updated(module, module.output_scale, output)
        if not module.quantizes_output:
            return output
        assert module.activation_qtype is not None
        quantized = quantize_activation(output, module.activation_qtype, module.output_scale)
        quantized.src_module = module
        return quantized

    def _updated(
        self, module: QuantizedActivations, scale: torch.Tensor, base: torch.Tensor
    ) -> torch.Tensor:
        assert module.activation_qtype is not None
        values = (base.dequantize() if isinstance(base, QTensor) else base).detach()
        if values.numel() == 0:
            return scale
        # A scale that was made in inference mode could take no part in later training.
        with torch.inference_mode(False), torch.no_grad():
            kept, name = scale.to(values.device, values.dtype), module.activation_qtype.name
            return library.moving_absmax_scale(kept, values, name, self.momentum).to(scale.dtype)

    # The forwards of all modules while a run lasts.

    def _entered(self, module: nn.Module, args: Any) -> None:
        self._runs[-1].depth += 1

    def _done(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(module, QuantizedActivations):
            return
        if self.debug:
            _print_scales(module)
        if self.streamline and self._runs[-1].depth == 1:
            self._runs[-1].decide()

    def _left(self, module: nn.Module, args: Any, output: Any) -> None:
        self._runs[-1].depth -= 1


class _Run:
    """One `with` block; `before` are the sides of the modules it has seen but not decided on."""

    def __init__(self, previous: "Calibration | None") -> None:
        self.previous = previous
        self.handles: list[RemovableHandle] = []
        self.depth = 0
        self.seen: set[QuantizedActivations] = set()
        self.needed: set[QuantizedActivations] = set()
        self.before: dict[QuantizedActivations, bool] = {}

    def see(self, module: QuantizedActivations) -> None:
        """At a module's first forward: its output is quantized again, to be decided anew."""
        if module not in self.seen:
            self.seen.add(module)
            self.before[module] = module.quantizes_output
            module.quantizes_output = not module._kept_float

    def decide(self) -> None:
        """At the end of a whole model: keep the outputs float whose codes nobody needed."""
        for module in self.seen - self.needed:
            module.quantizes_output = False
        self.before.clear()

    def undo(self) -> None:
        """After an exception: what was not decided is as it was before."""
        for module, quantized in self.before.items():
            module.quantizes_output = quantized


def _int8(value: torch.Tensor) -> bool:
    return isinstance(value, ActivationQBytesTensor) and value.qtype == qint8


def _makers(value: Any) -> tuple[Any, ...]:
    """The modules whose codes a tensor, or a list of them, holds."""
    if isinstance(value, list | tuple):
        return tuple(maker for each in value for maker in _makers(each))
    made = getattr(value, "src_module", None) if isinstance(value, QTensor) else None
    return made if isinstance(made, tuple) else () if made is None else (made,)


def _print_scales(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, QuantizedActivations):
            how = "not quantized."
            if child.activation_qtype is not None:
                scale = "a scale per token" if child.dynamic else f"scale {child.output_scale}"
                how = f"quantized to {child.activation_qtype} with {scale}."
            print(f"{name}({type(child).__name__}) activations are {how}")
