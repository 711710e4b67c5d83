# SPDX-License-Identifier: Apache-2.0
"""The small language models that the tests of the wrappers share."""

import pytest
import torch
from checkpoints import FLOAT

from quanto import QuantizedModelForCausalLM

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

IDS = torch.arange(8)[None]
SCHEMES = ["qint8", "qfloat8", "qint4", "qint2"]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def float_model(**changes):
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(FLOAT, **changes)
    return transformers.LlamaForCausalLM(config).eval()


def quantized(scheme="qint8", **options):
    return QuantizedModelForCausalLM.quantize(float_model(), weights=scheme, **options)


def logits(model):
    with torch.no_grad():
        return model(IDS).logits
