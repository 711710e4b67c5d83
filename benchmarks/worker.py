"""Times the layers of one quantization library, in the environment that it is installed in.

    python -m benchmarks.worker torch|quanto|optimum.quanto|torchao|sdnq|bitsandbytes

The benchmarks start one per library and speaks JSON lines with it: a request names a method of
Bench and its arguments, the reply is what it returned or {"error": ...}. Libraries print what
they like; only replies go to the real standard output.
"""

import copy
import importlib
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import linear

from . import language_model, peers

Call = Callable[[], Any]

MOST_COPIES = 2048
"""Of one layer: beyond, Python's objects would take more memory than the weights."""

HQQ_GROUP = 128


class Bench:
    """Layers by key, and the calls that were prepared on them."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.library = importlib.import_module(package)
        self.calls: dict[str, dict[str, Iterator[Call]]] = {}
        self.weights: dict[str, list[torch.nn.Module]] = {}
        self.inputs: dict[str, tuple[int, torch.dtype]] = {}
        self.models: dict[str, Any] = {}

    def describe(self, threads: int) -> dict[str, Any]:
        """Sets the number of threads; versions, and our instruction set."""
        torch.set_num_threads(threads)
        version = getattr(self.library, "__version__", "?")
        isa = torch.ops.quanto.isa() if hasattr(torch.ops.quanto, "isa") else ""
        return {"torch": torch.__version__, "version": version, "isa": isa}

    def build(
        self, key: str, qtype: str | None, dtype: str, n: int, k: int, working_set: int
    ) -> dict[str, Any]:
        """Copies of one layer that fill `working_set` bytes: more than a cache keeps."""
        layer = self._layer(qtype, getattr(torch, dtype), n, k)
        size = peers.size_of(layer)
        copies = min(max(1, math.ceil(working_set / size)), MOST_COPIES)
        self.weights[key] = [layer, *clones_of(layer, copies - 1)]
        self.calls[key] = {}
        self.inputs[key] = (k, getattr(torch, dtype))
        return {"bytes": size, "copies": copies}

    def prepare(self, key: str, rows: int, call: str) -> dict[str, Any]:
        """Calls the first layer once: what fails, fails here."""
        layers = self.weights[key]
        features, dtype = self.inputs[key]
        x = torch.randn(rows, features, dtype=dtype)
        calls = [CALLS[call](layer, x) for layer in layers]
        with torch.no_grad():
            calls[0]()
        self.calls[key][f"{call} {rows}"] = itertools.cycle(calls)
        return {}

    def measure(self, key: str, rows: int, call: str, seconds: float) -> dict[str, Any]:
        """Mean seconds of a call, over calls that last about `seconds`."""
        calls = self.calls[key][f"{call} {rows}"]
        with torch.no_grad():
            start = time.perf_counter()
            next(calls)()
            once = time.perf_counter() - start
            batch = max(1, min(1000, int(0.05 * seconds / once)))
            count, start = 0, time.perf_counter()
            while True:
                for work in itertools.islice(calls, batch):
                    work()
                count += batch
                elapsed = time.perf_counter() - start
                if elapsed > seconds:
                    return {"seconds": elapsed / count}

    def load(self, key: str, path: str, dtype: str, scheme: str) -> dict[str, Any]:
        """A language model; generates once, so that what fails, fails here."""
        model = language_model.load(self.package, Path(path), getattr(torch, dtype), scheme)
        language_model.seconds(model, prompt=2, tokens=1)
        self.models[key] = model
        return {"bytes": peers.size_of(model)}

    def generate(self, key: str, prompt: int, tokens: int) -> dict[str, Any]:
        """Seconds of a prefill, and of a token."""
        return language_model.seconds(self.models[key], prompt, tokens)

    def drop(self) -> dict[str, Any]:
        """Forgets every layer and model."""
        self.calls.clear()
        self.weights.clear()
        self.models.clear()
        return {}

    def quantize(
        self, qtype: str, optimizer: str | None, dtype: str, n: int, k: int
    ) -> dict[str, Any]:
        """Seconds to quantize and freeze one layer, and to copy its weight."""
        layer = self._layer(None, getattr(torch, dtype), n, k)
        weight = layer.weight.detach().clone()
        target = weight.clone()  # its pages are mapped
        start = time.perf_counter()
        target.copy_(weight)
        copied = time.perf_counter()
        self._quantize_by(layer, qtype, optimizer)
        return {"copy": copied - start, "seconds": time.perf_counter() - copied}

    def hqq(self, dtype: str, deviation: float, iterations: int, n: int, k: int) -> dict[str, Any]:
        """Seconds of HQQ's search on one weight, and the mean error of what it finds."""
        weight = torch.empty(n, k, dtype=getattr(torch, dtype))
        weight.normal_(0, deviation, generator=torch.Generator().manual_seed(0))
        search = self.library.HqqOptimizer(iters=iterations)
        search(weight[:1], self.library.qint4, 0, HQQ_GROUP)  # what it compiles, it compiles here
        wall, cpu = time.perf_counter(), time.process_time()
        scale, shift = search(weight, self.library.qint4, 0, HQQ_GROUP)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        groups = weight.view(-1, HQQ_GROUP)
        codes = ((groups + shift) / scale).round_().clamp_(0, 15)
        error = (scale * codes - shift - groups).abs().mean(dtype=torch.float32)
        return {"wall": wall, "cpu": cpu, "mean_error": error.item()}

    def _layer(self, qtype: str | None, dtype: torch.dtype, n: int, k: int) -> Any:
        layer = torch.nn.Linear(k, n, bias=False, dtype=dtype).eval().requires_grad_(False)
        layer.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
        if qtype is None:
            return layer
        model = torch.nn.Sequential(layer)
        peers.quantize(self.package, model, qtype)
        return model[0]

    def _quantize_by(self, layer: torch.nn.Module, qtype: str, optimizer: str | None) -> None:
        """By ours or the predecessor, whose interface is the same."""
        model = torch.nn.Sequential(layer)
        chosen = getattr(self.library, optimizer)() if optimizer else None
        self.library.quantize(model, weights=getattr(self.library, qtype), optimizer=chosen)
        self.library.freeze(model)


def module_call(layer: Any, x: torch.Tensor) -> Call:
    """What a user calls."""
    return lambda: layer(x)


def functional_call(layer: Any, x: torch.Tensor) -> Call:
    """torch.nn.functional.linear on the module's weight."""
    weight, bias = layer.weight, layer.bias
    return lambda: linear(x, weight, bias)


def operator_call(layer: Any, x: torch.Tensor) -> Call:
    """Our operator on the plain tensors, without any module or subclass."""
    weight = layer.weight
    bits, group, outputs = weight.qtype.bits, getattr(weight, "_group_size", None), len(weight)
    data = getattr(weight._data, "_data", weight._data)
    scale, shift = weight._scale, getattr(weight, "_shift", None)
    operator = torch.ops.quanto.linear
    return lambda: operator(x, data, scale, shift, None, bits, group, outputs)


CALLS = {"module": module_call, "functional": functional_call, "operator": operator_call}


def clones_of(layer: Any, count: int) -> list[Any]:
    """Deep copies, or made by hand where the library's frozen weights refuse it.

    Asked once: to refuse, optimum-quanto makes a dense weight, which takes up to a second and, with
    raised thresholds of malloc, stays behind as a hole between the copies.
    """
    try:
        copy.deepcopy(layer)
    except RuntimeError:
        return [clone_by_hand(layer) for _ in range(count)]
    return [copy.deepcopy(layer) for _ in range(count)]


def clone_by_hand(layer: Any) -> Any:
    """A layer that shares everything but the weight."""
    clone = copy.copy(layer)
    weight = torch.nn.Parameter(clone_tensor(layer.weight.data), requires_grad=False)
    clone._parameters = dict(layer._parameters, weight=weight)
    return clone


def clone_tensor(tensor: Any) -> torch.Tensor:
    """A wrapper subclass over clones of its inner tensors."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return tensor.detach().clone()
    names, meta = tensor.__tensor_flatten__()
    inner = {name: clone_tensor(getattr(tensor, name)) for name in names}
    return type(tensor).__tensor_unflatten__(inner, meta, tensor.size(), tensor.stride())


def main(package: str) -> None:
    """Answers requests until the standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bench = Bench(package)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(bench, request.pop("do"))(**request)
        except Exception as error:  # a library that cannot do it is a result too
            reply = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
