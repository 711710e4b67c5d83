"""Quantized modules."""

from .qlinear import QLinear
from .qmodule import QModuleMixin, quantize_module, register_qmodule

__all__ = ["QLinear", "QModuleMixin", "quantize_module", "register_qmodule"]
