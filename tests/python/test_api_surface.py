# SPDX-License-Identifier: Apache-2.0
"""Every public name of optimum-quanto 0.2.7: there, and called in the same way."""

import importlib
import importlib.metadata
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

import quanto

API = json.loads((Path(__file__).parents[1] / "golden" / "api.json").read_text())

EXEMPT = {
    ("HqqOptimizer", "MaxOptimizer"): "it is one by inheritance of code, not of meaning",
    ("Calibration", "constructor"): "its *args and **kwargs swallow misspelt options",
    ("Calibration", "calibrate_input"): "a step of its implementation by hooks",
    ("Calibration", "calibrate_output"): "a step of its implementation by hooks",
    ("Calibration", "tag_outputs"): "a step of its implementation by hooks",
    ("Optimizer", "__call__"): "abstract: the signatures are those of the two kinds",
    ("SymmetricOptimizer", "optimize"): "abstract, and given a type under the name qmax",
}
"""What differs, and why that breaks no caller. `qforward` is abstract and never called there."""


def parameters(function, bound):
    """Names with their defaults, as api.json has them."""
    found = list(inspect.signature(function).parameters.values())
    result = []
    for p in found[1:] if bound else found:
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = p.default.name if isinstance(p.default, quanto.qtype) else repr(p.default)
        result.append(f"{stars}{p.name}" + ("" if p.default is p.empty else f"={default}"))
    return result


def check(ours, theirs):
    """Theirs come first, in order and with the same defaults; what we add need not be given."""
    named = [p for p in theirs if not p.startswith("*")]
    mine = [p for p in ours if not p.startswith("*")]
    same = [p.partition("=")[0] if "=" not in q else p for p, q in zip(mine, named, strict=False)]
    assert same == named
    assert {p for p in theirs if p.startswith("*")} <= set(ours)
    assert all("=" in p for p in mine[len(named) :])


def test_there_are_49():
    assert len(API["constants"]) + len(API["functions"]) + len(API["classes"]) == 49
    assert set(API["constants"]) | set(API["functions"]) | set(API["classes"]) <= set(
        quanto.__all__
    )


@pytest.mark.parametrize("name", API["constants"])
def test_constants(name):
    value = getattr(quanto, name)
    assert name == "qtypes" or quanto.qtypes[name] is value


@pytest.mark.parametrize("name", API["functions"])
def test_functions(name):
    check(parameters(getattr(quanto, name), False), API["functions"][name])


@pytest.mark.parametrize("name", API["classes"])
def test_classes(name):
    cls, theirs = getattr(quanto, name), API["classes"][name]
    bases = [base.__name__ for base in cls.__mro__[1:]]
    expected = [base for base in theirs["bases"] if (name, base) not in EXEMPT]
    assert [base for base in bases if base in expected] == expected
    if theirs["constructor"] is not None and (name, "constructor") not in EXEMPT:
        check(parameters(cls.__init__, True), theirs["constructor"])
    known = {*dir(cls), *getattr(cls, "__dataclass_fields__", {})}
    assert set(theirs["attributes"]) <= known


METHODS = [
    (name, method)
    for name, c in API["classes"].items()
    for method in c["methods"]
    if (name, method) not in EXEMPT and method not in ("qforward", "__enter__", "__exit__")
]


@pytest.mark.parametrize(("name", "method"), METHODS, ids=[".".join(m) for m in METHODS])
def test_methods(name, method):
    cls = getattr(quanto, name)
    static = inspect.getattr_static(cls, method)
    bound = not isinstance(static, (staticmethod, classmethod))
    check(parameters(getattr(cls, method), bound), API["classes"][name]["methods"][method])


PATHS = {
    "optimum.quanto.calibrate": ["Calibration", "absmax_scale"],
    "optimum.quanto.library": ["quantize_symmetric", "quantize_affine", "unpack"],
    "optimum.quanto.models": ["QuantizedModelForCausalLM", "is_transformers_available"],
    "optimum.quanto.models.transformers_models": ["QuantizedTransformersModel"],
    "optimum.quanto.models.diffusers_models": ["QuantizedPixArtTransformer2DModel"],
    "optimum.quanto.nn": ["QLinear", "QConv2d", "QLayerNorm", "QModuleMixin", "quantize_module"],
    "optimum.quanto.nn.qlinear": ["QLinear"],
    "optimum.quanto.nn.qconv2d": ["QConv2d"],
    "optimum.quanto.nn.qlayernorm": ["QLayerNorm"],
    "optimum.quanto.nn.qmodule": ["QModuleMixin", "quantize_module", "register_qmodule"],
    "optimum.quanto.quantize": ["quantize", "freeze", "quantization_map", "requantize"],
    "optimum.quanto.subpackage": [],
    "optimum.quanto.tensor": ["QTensor", "PackedTensor", "quantize_weight", "qint8", "qtypes"],
    "optimum.quanto.tensor.activations": ["ActivationQBytesTensor", "quantize_activation"],
    "optimum.quanto.tensor.core": ["axis_to_dim", "dtype_info"],
    "optimum.quanto.tensor.grouped": ["group", "ungroup", "grouped_shape"],
    "optimum.quanto.tensor.optimizers": ["MaxOptimizer", "HqqOptimizer", "AbsmaxOptimizer"],
    "optimum.quanto.tensor.packed": ["PackedTensor"],
    "optimum.quanto.tensor.qbits": ["QBitsTensor"],
    "optimum.quanto.tensor.qbytes": ["QBytesTensor"],
    "optimum.quanto.tensor.qtensor": ["QTensor"],
    "optimum.quanto.tensor.qtype": ["qtype", "qtypes", "qint8"],
    "optimum.quanto.tensor.weights": ["WeightQBytesTensor", "WeightQBitsTensor"],
    "optimum.quanto.tensor.weights.qbits": ["WeightQBitsTensor"],
    "optimum.quanto.tensor.weights.qbytes": ["WeightQBytesTensor"],
    "optimum.quanto.tensor.weights.quantization": ["quantize_weight"],
}


@pytest.mark.parametrize("path", PATHS)
def test_import_paths(path):
    module = importlib.import_module(path)
    assert module is importlib.import_module(path.removeprefix("optimum."))
    for name in PATHS[path]:
        found = getattr(module, name)
        assert getattr(quanto, name, found) is found or path == "optimum.quanto.library"


def test_quantize_is_the_function():
    code = (
        "import optimum.quanto.quantize, optimum.quanto as q, inspect\n"
        "from optimum.quanto.quantize import requantize\n"
        "assert inspect.isfunction(q.quantize) and inspect.isfunction(optimum.quanto.quantize)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_everything_by_star():
    code = "from optimum.quanto import *\nprint(*sorted(globals()))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names = set(API["constants"]) | set(API["functions"]) | set(API["classes"])
    assert names <= set(run.stdout.split())


@pytest.mark.parametrize("name", ["quanto", "optimum.quanto"])
def test_import_is_silent(name):
    command = [sys.executable, "-W", "error", "-c", f"import {name}"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout + run.stderr == ""


def test_version_is_one_that_others_accept():
    version = Version(quanto.__version__)
    assert version >= Version("0.3.0")
    assert not version.is_devrelease


def test_extensions_are_built_in():
    assert quanto.is_extension_available("quanto_cpp")
    assert quanto.get_extension("quanto_cpp").lib.unpack is not None
    for name in ("quanto_cuda", "quanto_hip", "quanto_mps", "other"):
        assert not quanto.is_extension_available(name)
        with pytest.raises(KeyError, match=name):
            quanto.get_extension(name)


def test_availability():
    assert quanto.is_transformers_available() == _installed("transformers")
    assert quanto.is_diffusers_available() == _installed("diffusers")


def _installed(name):
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
