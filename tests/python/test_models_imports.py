# SPDX-License-Identifier: Apache-2.0
"""The wrappers import their libraries when they are used, and say what is missing."""

import subprocess
import sys

import pytest


def test_neither_library_is_imported_by_ours():
    code = (
        "import sys, quanto\n"
        "from quanto import QuantizedModelForCausalLM, QuantizedPixArtTransformer2DModel\n"
        "print(sorted({'transformers', 'diffusers', 'accelerate'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["transformers", "huggingface_hub"])
def test_wrappers_say_what_they_need(name):
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "import quanto\n"
        "try: quanto.QuantizedModelForCausalLM.from_pretrained('x')\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "expected transformers to be installed" in run.stdout
