# SPDX-License-Identifier: Apache-2.0
"""optimum.quanto is quanto, and importing either is light."""

import importlib
import pkgutil
import subprocess
import sys

import quanto


def run(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_every_module_is_the_same_object():
    alias = importlib.import_module("optimum.quanto")
    assert alias is quanto
    names = [info.name for info in pkgutil.walk_packages(quanto.__path__, "quanto.")]
    assert "quanto.tensor.packed" in names
    for name in names:
        assert importlib.import_module(f"optimum.{name}") is importlib.import_module(name), name


def test_modules_loaded_later_are_the_same_too():
    code = (
        "import optimum.quanto as q, sys\n"
        "assert 'quanto.models.transformers_models' not in sys.modules\n"
        "import optimum.quanto.models.transformers_models as later\n"
        "import quanto.models.transformers_models as real\n"
        "assert later is real and real.__spec__.name == 'quanto.models.transformers_models'\n"
        "assert q.QuantizedModelForCausalLM is real.QuantizedModelForCausalLM\n"
        "try: import optimum.quanto.absent\n"
        "except ModuleNotFoundError as error: print(error.name)"
    )
    assert run(code).strip() == "optimum.quanto.absent"


def test_the_alias_can_come_first():
    code = (
        "from optimum.quanto.tensor.packed import PackedTensor\n"
        "import optimum.quanto, quanto, importlib.util\n"
        "assert PackedTensor is quanto.PackedTensor and optimum.quanto is quanto\n"
        "assert importlib.util.find_spec('optimum.quanto') is not None\n"
        "print(optimum.quanto.__version__)"
    )
    assert run(code).strip() == quanto.__version__


def test_optimum_stays_a_namespace():
    import optimum

    assert getattr(optimum, "__file__", None) is None


def test_names_that_other_libraries_import():
    from optimum.quanto.nn import QLinear as Same

    from optimum.quanto import (  # noqa: F401
        MaxOptimizer,
        QLinear,
        QModuleMixin,
        QTensor,
        freeze,
        qfloat8,
        qint2,
        qint4,
        qint8,
        quantize_weight,
    )

    assert Same is QLinear


def test_import_brings_no_heavy_library():
    code = (
        "import sys, torch, quanto\n"
        "heavy = {'transformers', 'diffusers', 'accelerate', 'peft'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run(code).strip() == "[]"


def test_all_is_complete():
    assert len(set(quanto.__all__)) == len(quanto.__all__)
    assert all(hasattr(quanto, name) for name in quanto.__all__)
