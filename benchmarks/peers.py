# SPDX-License-Identifier: Apache-2.0
"""How each library quantizes the Linears of a model; runs in the library's own environment.

Names of schemes are those of their library, so that a reader finds them in its documents.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from .packed_linear import Int4Pack, Int8Pack

GROUPS = (128, 64, 32)
Quantizer = Callable[[nn.Module, str, tuple[str, ...]], None]

SCHEMES: dict[str, tuple[str, ...]] = {
    "torch": ("_weight_int8pack_mm", "_weight_int4pack_mm_for_cpu"),
    "quanto": ("qint8", "qint8 dynamic", "qfloat8", "qint4", "qint2"),
    "optimum.quanto": ("qint8", "qfloat8", "qint4", "qint2"),
    "torchao": ("int8wo", "da8w8", "int4wo"),
    "sdnq": ("int8", "uint4"),
    "bitsandbytes": ("int8", "nf4"),
}
"""By package. Ours and the original's are a type, and what follows it: `g64`, `dynamic`."""


def quantize(package: str, model: nn.Module, scheme: str, skip: tuple[str, ...] = ()) -> None:
    """In place, all Linears of `model` but those whose last name is in `skip`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        QUANTIZERS[package](model, scheme, skip)


def linears(
    model: nn.Module, skip: tuple[str, ...]
) -> Iterator[tuple[nn.Module, str, nn.Linear]]:  # fmt: skip
    """(parent, name, layer) of each, found before any is replaced."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and name not in skip
    ]
    yield from found


def group_size(model: nn.Module, skip: tuple[str, ...]) -> int:
    """The first of GROUPS that divides the inputs of every layer; some libraries take no other."""
    inputs = [layer.in_features for _, _, layer in linears(model, skip)]
    for size in GROUPS:
        if all(count % size == 0 for count in inputs):
            return size
    raise ValueError(f"expected in_features that 32 divides, got {sorted(set(inputs))}")


def _torch(model: nn.Module, scheme: str, skip: tuple[str, ...]) -> None:
    size = group_size(model, skip) if scheme.startswith("_weight_int4pack") else None
    for parent, name, layer in linears(model, skip):
        packed = Int8Pack(layer) if size is None else Int4Pack(layer, size)
        setattr(parent, name, packed)


def _quanto_of(package: str) -> Quantizer:
    def apply(model: nn.Module, scheme: str, skip: tuple[str, ...]) -> None:
        library: Any = importlib.import_module(package)
        weights, *words = scheme.split(" ")
        options: dict[str, Any] = {}
        for word in words:
            if word == "dynamic":
                options |= {"activations": library.qint8, "dynamic": True}
            else:
                options["group_size"] = int(word.removeprefix("g"))
        exclude = [f"*{name}" for name in skip] or None
        library.quantize(model, weights=getattr(library, weights), exclude=exclude, **options)
        library.freeze(model)

    return apply


def _torchao(model: nn.Module, scheme: str, skip: tuple[str, ...]) -> None:
    ao = importlib.import_module("torchao.quantization")
    if scheme == "int4wo":  # the only one of 4 bits with a kernel for CPUs
        prototype = importlib.import_module(
            "torchao.prototype.quantization.int4.inference_workflow"
        )
        config = prototype.PrototypeInt4WeightOnlyConfig(group_size=group_size(model, skip))
    elif scheme == "da8w8":
        config = ao.Int8DynamicActivationInt8WeightConfig()
    else:
        config = ao.Int8WeightOnlyConfig()
    chosen = {id(layer) for _, _, layer in linears(model, skip)}
    ao.quantize_(model, config, filter_fn=lambda module, _: id(module) in chosen)


def _sdnq(model: nn.Module, scheme: str, skip: tuple[str, ...]) -> None:
    sdnq: Any = importlib.import_module("sdnq")
    sdnq.sdnq_post_load_quant(
        model,
        weights_dtype=scheme,
        group_size=group_size(model, skip) if scheme == "uint4" else 0,
        modules_to_not_convert=list(skip),
        add_skip_keys=False,
    )
    if hasattr(model, "config"):  # or transformers takes the model for one of its own making
        model.config.__dict__.pop("quantization_config", None)


def _bitsandbytes(model: nn.Module, scheme: str, skip: tuple[str, ...]) -> None:
    modules: Any = importlib.import_module("bitsandbytes.nn")
    for parent, name, layer in linears(model, skip):
        shape = (layer.in_features, layer.out_features)
        bias, dtype = layer.bias is not None, layer.weight.dtype
        if scheme == "nf4":
            new = modules.Linear4bit(*shape, bias=bias, quant_type="nf4", compute_dtype=dtype)
        else:
            new = modules.Linear8bitLt(*shape, bias=bias, has_fp16_weights=False, threshold=0.0)
        new.load_state_dict(layer.state_dict())
        setattr(parent, name, new.to("cpu").eval())


QUANTIZERS: dict[str, Quantizer] = {
    "torch": _torch,
    "quanto": _quanto_of("quanto"),
    "optimum.quanto": _quanto_of("optimum.quanto"),
    "torchao": _torchao,
    "sdnq": _sdnq,
    "bitsandbytes": _bitsandbytes,
}


def leaves(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors of a wrapper subclass, or the tensor itself."""
    if hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:
            yield from leaves(getattr(tensor, name))
    else:
        yield tensor


def size_of(model: nn.Module) -> int:
    """Bytes of the tensors of its state dict; shared ones count once."""
    sizes = {
        leaf.data_ptr(): leaf.nbytes
        for tensor in model.state_dict().values()
        if isinstance(tensor, torch.Tensor)
        for leaf in leaves(tensor)
    }
    return sum(sizes.values())
