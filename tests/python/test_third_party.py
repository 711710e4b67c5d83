# SPDX-License-Identifier: Apache-2.0
"""THIRD_PARTY.md names all that is found, linked or imported."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"quanto"}
FOUND = re.compile(r"find_(?:package|dependency)\(\s*([\w.-]+)")
LIBRARY = re.compile(r"pkg_check_modules\(\s*\w+(?:\s+[A-Z_]+)*\s+([\w.-]+)\)")


def _cmake_files() -> list[Path]:
    folders = ("cmake", "cpp", "tests", "benchmarks", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    names = ("CMakeLists.txt", ".cmake", ".cmake.in")
    return [ROOT / "CMakeLists.txt", *(path for path in files if path.name.endswith(names))]


def _found_by_cmake() -> set[str]:
    texts = [re.sub(r"#.*", "", path.read_text()) for path in _cmake_files()]
    return {name for text in texts for name in FOUND.findall(text) + LIBRARY.findall(text)}


def _python_requirements() -> set[str]:
    extras = re.findall(r"^(\w+) = \[", _section("project.optional-dependencies"), re.MULTILINE)
    command = [sys.executable, ROOT / "scripts/extras.py", *extras]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    return {re.split(r"[<>=~ \[]", line)[0] for line in lines if line} | {"torch"}


def _section(name: str) -> str:
    text = (ROOT / "pyproject.toml").read_text()
    return text.split(f"[{name}]")[1].split("\n[")[0]


@pytest.mark.parametrize("names", [_found_by_cmake, _python_requirements])
def test_every_dependency_is_named(names) -> None:
    found = {name for name in names() if name.lower() not in OURS}
    assert len(found) >= 8
    words = set(re.findall(r"[\w.-]+", (ROOT / "THIRD_PARTY.md").read_text().lower()))
    assert {name for name in found if name.lower() not in words} == set()


def test_is_shipped_in_the_wheel() -> None:
    assert '"THIRD_PARTY.md"' in _section("project")
