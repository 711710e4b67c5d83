# SPDX-License-Identifier: Apache-2.0
"""The examples of the README and of every page under docs run as they stand there."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "```python" in page.read_text()
]
OPTIONAL = ("transformers", "diffusers", "peft", "accelerate")


def examples(page: Path) -> str:
    """The page's blocks, each at the line where it stands."""
    lines = page.read_text().splitlines()
    kept, inside = [], False
    for line in lines:
        fence = line.startswith("```")
        inside = line.startswith("```python") if fence else inside
        kept.append(line if inside and not fence else "")
    return "\n".join(kept)


def run(page: Path) -> None:
    code = examples(page)
    for name in OPTIONAL:
        if re.search(rf"^(from|import) {name}\b", code, re.MULTILINE) and (
            importlib.util.find_spec(name) is None
        ):
            pytest.skip(f"{name} is not installed")
    exec(compile(code, str(page), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_examples_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(page)


def test_what_the_readme_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(ROOT / "README.md")
    printed = capsys.readouterr().out
    assert "qint4" in printed
    assert "identical: True" in printed
    error = re.search(r"relative error ([0-9.]+)", printed)
    assert error is not None
    assert 0 < float(error[1]) < 0.2


def test_every_command_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [ROOT / "README.md", ROOT / "HACKING.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text()
        for name in re.findall(r"python -m ((?:examples|benchmarks)[\w.]*)", text):
            path = ROOT.joinpath(*name.split("."))
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), name
        for target in re.findall(r"(?:`|^)make ([a-z][\w-]*)", text, re.MULTILINE):
            assert target in targets, f"{page.name}: make {target}"


def test_every_fence_is_closed_and_named() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        fences = [line for line in page.read_text().splitlines() if line.startswith("```")]
        assert len(fences) % 2 == 0, page
        assert all(fence == "```" for fence in fences[1::2]), page
        assert all(fence != "```" for fence in fences[::2]), page
