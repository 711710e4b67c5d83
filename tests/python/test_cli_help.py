# SPDX-License-Identifier: Apache-2.0
"""Help, the man page and the completion say the same."""

import re
import subprocess
from pathlib import Path

import pytest
import torch
from cli import ROOT, needs_binary, run

import quanto

pytestmark = needs_binary


def test_version_and_help() -> None:
    shown = run("--version").stdout
    assert shown == f"quanto {quanto.__version__} ({torch.ops.quanto.isa()})\n"
    assert "--group-size" in run("quantize", "--help").stdout


COMMANDS = ("quantize", "dequantize", "inspect", "compare", "verify", "bench")


def test_these_are_all_commands() -> None:
    shown = run("--help").stdout.lower().partition("subcommands:\n")[2]
    assert {line.split()[0] for line in shown.splitlines() if line.strip()} == set(COMMANDS)


OPTION = re.compile(r"(?<![\w-])-{1,2}[a-z][a-z-]*")


def completed(*words: str) -> set[str]:
    """What bash offers for the last word."""
    script = ROOT / "cpp/quanto/cli/completion.bash"
    line = " ".join(["quanto", *(word or "''" for word in words)])
    code = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
        "_quanto; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_man_page_and_completion_know_every_option(command: str) -> None:
    shown = run(command, "--help").stdout
    options = {word for line in shown.splitlines() for word in OPTION.findall(line[:30])}
    assert {"-h", "--help"} <= options
    page = (ROOT / "docs/man/quanto.1").read_text().replace("\\-", "-")
    section = page.partition(f".SS {command}\n")[2].partition("\n.S")[0]
    assert section
    assert options - set(OPTION.findall(section)) <= {"-h", "--help"}
    assert completed(command, "-") == options


def test_completes_commands_and_values(tmp_path: Path) -> None:
    assert set(COMMANDS) <= completed("")
    assert completed("quantize", "-w", "int") == {"int8", "int4", "int2"}
    assert completed("quantize", "--optimizer", "") == {"absmax", "max", "hqq"}
    (tmp_path / "model").mkdir()
    assert completed("verify", f"{tmp_path}/") == {f"{tmp_path}/model"}
