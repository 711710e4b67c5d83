# SPDX-License-Identifier: Apache-2.0
"""The code of the C++ SDK's page is the code that a C++ test compiles and runs."""

import re
import textwrap
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_BLOCKS = re.findall(r"```cpp\n(.*?)```", (_ROOT / "docs/cpp-sdk.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", _BLOCKS, ids=[block.split("\n")[0] for block in _BLOCKS])
def test_block_is_compiled(block: str) -> None:
    source = (_ROOT / "cpp/quanto/nn/sdk_docs_test.cc").read_text()
    forms = [textwrap.indent(block, indent) for indent in ("", "  ")]
    assert any(form in source for form in forms), block


def test_page_has_code() -> None:
    assert len(_BLOCKS) > 4
