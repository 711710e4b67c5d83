"""The README's examples run as they stand there."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_examples_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) == 2
    exec(compile("\n".join(examples), str(README), "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "qint4" in printed
    assert "identical: True" in printed
    error = re.search(r"relative error ([0-9.]+)", printed)
    assert error is not None
    assert 0 < float(error[1]) < 0.2
