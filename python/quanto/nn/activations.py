# SPDX-License-Identifier: Apache-2.0
"""Quantized activations of a module: what its state is, and what a forward does with it."""

import warnings
from typing import TYPE_CHECKING, Any

import torch

from ..qtype import as_qtype, qtype
from ..tensor.activations import ActivationQBytesTensor, quantize_activation
from ..tensor.core import has_values
from ..tensor.qtensor import QTensor

if TYPE_CHECKING:
    from ..calibrate import Calibration

_UNCALIBRATED = (
    "the scales of quantized activations were never calibrated: run a few batches under "
    "`with quanto.Calibration(): ...`, or quantize with dynamic=True (explain(model) names the "
    "modules)"
)


class Notice:
    """Whether the warning of an uncalibrated model was given; modules made together share one."""

    given = False


class _State:
    notice = Notice()
    calibration: "Calibration | None" = None


def new_notice() -> None:
    """Modules made from now on warn on their own account: another model begins."""
    _State.notice = Notice()


def set_calibration(calibration: "Calibration | None") -> "Calibration | None":
    """Make this the running calibration; the one before."""
    previous, _State.calibration = _State.calibration, calibration
    return previous


def active_calibration() -> "Calibration | None":
    """The running calibration."""
    return _State.calibration


class QuantizedActivations:
    """State and steps of a module whose inputs and outputs may be quantized.

    Attributes:
        activation_qtype: their type, or None.
        dynamic: every token's input takes a scale of its own, inside the operator; the output stays
            float and the scales below are not used.
        quantizes_input, quantizes_output: which sides are quantized. Input that is quantized
            already is taken as it is.
        input_scale, output_scale: 0-d buffers, 1 until calibrated.

    A subclass whose forward does not see to these sides itself (`handles_activations` False: any
    class written with `torch.nn.functional` on `qweight`) has it done by forward hooks.
    """

    handles_activations = False

    activation_qtype: qtype | None
    dynamic: bool
    quantizes_input: bool
    quantizes_output: bool
    input_scale: torch.Tensor
    output_scale: torch.Tensor
    _buffers: dict[str, torch.Tensor | None]

    def _init_activations(
        self, activations: qtype | str | None, quantize_input: bool, dynamic: bool
    ) -> None:
        kind = activation_type(type(self).__name__, activations)
        self.activation_qtype = kind
        self.quantizes_input = kind is not None and quantize_input
        self.quantizes_output = kind is not None
        self.dynamic = False
        self._kept_float = False  # by a call of disable_output_quantization
        self._noticed = kind is None
        self._notice = _State.notice
        if dynamic:
            self.make_dynamic()
        if kind is not None and not self.handles_activations:
            self.register_forward_pre_hook(_before)  # type: ignore[attr-defined]
            self.register_forward_hook(_after)  # type: ignore[attr-defined]

    def make_dynamic(self) -> None:
        """Quantize inputs with a scale per token, and no outputs.

        Raises ValueError without a type of activations, or if the module has no operator for it.
        """
        name = type(self).__name__
        if self.activation_qtype is None:
            raise ValueError(f"{name}: expected a type for activations with dynamic, got None")
        if not self.handles_activations:
            raise ValueError(f"{name}: expected static activations, got dynamic")
        self.dynamic, self.quantizes_output = True, False

    def keep_calibration(self, other: "QuantizedActivations") -> None:
        """Take scales and sides from another module, if they were found for the same type."""
        same = (self.activation_qtype, self.dynamic) == (other.activation_qtype, other.dynamic)
        if self.activation_qtype is None or same:
            self.input_scale, self.output_scale = other.input_scale, other.output_scale
        if same:
            self.quantizes_input = other.quantizes_input
            self.quantizes_output = other.quantizes_output
            self._kept_float = other._kept_float

    @property
    def _quantize_hooks(self) -> dict[str, bool]:
        """The sides that are quantized, by the names under which others look for them."""
        sides = {"input": self.quantizes_input, "output": self.quantizes_output}
        return {side: True for side, quantized in sides.items() if quantized}

    def disable_output_quantization(self) -> None:
        """Return float outputs from now on; a later calibration leaves it so."""
        self.quantizes_output = False
        self._kept_float = True

    def quantize_input(self, module: Any, input: Any) -> torch.Tensor:
        """The input (or the first of a tuple) quantized; as it is if it is quantized already."""
        first: torch.Tensor = input[0] if isinstance(input, tuple) else input
        if isinstance(first, ActivationQBytesTensor):
            self.check_activation(first)
            return first
        assert self.activation_qtype is not None
        return quantize_activation(
            first, self.activation_qtype, scale_like(self.input_scale, first)
        )

    def quantize_output(self, module: Any, input: Any, output: torch.Tensor) -> torch.Tensor:
        """The output quantized."""
        assert self.activation_qtype is not None
        scale = scale_like(self.output_scale, output)
        return quantize_activation(output, self.activation_qtype, scale)

    def check_activation(self, input: ActivationQBytesTensor) -> None:
        """Raise ValueError unless a quantized input is of this module's type."""
        kind = self.activation_qtype
        # By dtypes, as torch.compile traces no other objects of a tensor that is made in the graph.
        if kind is not None and input._data.dtype != kind.dtype:
            raise ValueError(
                f"{type(self).__name__}: expected an input quantized to "
                f"{kind.name}, got {input.qtype.name}: activations of different "
                "types in one model are not supported"
            )

    def activation_in(self, input: torch.Tensor) -> torch.Tensor:
        """What a forward of plain torch functions takes: observed, then quantized where it is on.

        The result is plain, or an `ActivationQBytesTensor`.
        """
        if self.activation_qtype is None:
            return input
        calibration = _State.calibration
        if calibration is not None:
            calibration.observe_input(self, input)
        elif not self._noticed:
            self.notice_uncalibrated()
        if self.quantizes_input or isinstance(input, ActivationQBytesTensor):
            return self.quantize_input(self, input)
        return input

    def activation_out(self, output: torch.Tensor) -> torch.Tensor:
        """What such a forward returns: observed, then quantized where it is on."""
        if self.activation_qtype is None or isinstance(output, QTensor):
            return output
        calibration = _State.calibration
        if calibration is not None:
            return calibration.observe_output(self, output)
        return self.quantize_output(self, (), output) if self.quantizes_output else output

    def notice_uncalibrated(self) -> None:
        """At the first forward, not under the compiler: one warning if the scales are still 1."""
        if torch.compiler.is_compiling():
            return
        self._noticed = True
        if self._notice.given or not self.uncalibrated():
            return
        self._notice.given = True
        warnings.warn(f"{type(self).__name__}: {_UNCALIBRATED}", stacklevel=2)

    def uncalibrated(self) -> bool:
        """Whether static scales are in use that no calibration has set."""
        used = self.quantizes_input or self.quantizes_output
        if self.activation_qtype is None or self.dynamic or not used:
            return False
        scales = (self.input_scale, self.output_scale)
        return all(has_values(scale) and bool(scale == 1) for scale in scales)


def activation_type(op: str, activations: qtype | str | None) -> qtype | None:
    """The type of that name. Raises ValueError unless it has 8 bits."""
    if activations is None:
        return None
    kind = as_qtype(activations)
    if kind.bits != 8:
        raise ValueError(f"{op}: expected 8-bit activations, got {kind.name}")
    return kind


def scale_like(scale: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """The scale where and as what `base` is: it may have been kept apart, in float32 on the CPU."""
    return scale if scale.dtype == base.dtype and scale.device == base.device else scale.to(base)


def _before(module: QuantizedActivations, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not args:
        raise TypeError(f"{type(module).__name__}: expected a positional input, got keywords only")
    return (module.activation_in(args[0]), *args[1:])


def _after(module: QuantizedActivations, args: tuple[Any, ...], output: Any) -> Any:
    return module.activation_out(output)


OWN_HOOKS = (_before, _after)
"""Those that see to the activations of modules that do not do so themselves."""


def plain(input: torch.Tensor) -> torch.Tensor:
    """The values of whatever quantized tensor an operator on plain tensors is given."""
    if (
        type(input) is torch.Tensor
    ):  # asked first: isinstance takes longer, by a wrapper's metaclass
        return input
    return input.dequantize() if isinstance(input, QTensor) else input
