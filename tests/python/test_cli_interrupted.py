# SPDX-License-Identifier: Apache-2.0
"""Runs that do not come to their end: killed, or no room, or no place to write."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from cli import BINARY, needs_binary, run
from safetensors.torch import save_file

pytestmark = needs_binary

KILLS = 100
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some milliseconds of work, in several steps."""
    path = tmp_path_factory.mktemp("source") / "source.safetensors"
    torch.manual_seed(0)
    save_file({f"m{i}.weight": torch.randn(64, 512) for i in range(8)}, path)
    return path


def seconds_of(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - start


def killed_at(command: list[str], seconds: float, how: signal.Signals) -> bool:
    """Whether the signal came before the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(how)
    return process.wait() == -how


def test_a_killed_run_leaves_the_old_file_or_the_new(source: Path, tmp_path: Path) -> None:
    """At random moments, until it was in time so many times."""
    out = tmp_path / "out.safetensors"
    left = tmp_path / f".{out.name}.quanto-tmp"
    command = [str(BINARY), "quantize", str(source), str(out), "-w", "int4", "--optimizer", "hqq"]
    whole, new = seconds_of(command), out.read_bytes()
    rng, killed, in_the_middle = random.Random(0), 0, 0
    for attempt in range(20 * KILLS):
        how, old = SIGNALS[attempt % len(SIGNALS)], b"old" if attempt % 2 else new
        out.write_bytes(old)
        left.unlink(missing_ok=True)
        in_time = killed_at(command, rng.uniform(0, whole), how)
        assert out.read_bytes() in (old, new)
        others = set(tmp_path.iterdir()) - {out}
        assert others <= ({left} if how is signal.SIGKILL else set())
        killed += in_time
        in_the_middle += bool(others)
        if killed == KILLS:
            break
    assert killed == KILLS
    assert in_the_middle > 0
    left.write_bytes(b"what a killed run left")
    subprocess.run(command, check=True, capture_output=True)
    assert out.read_bytes() == new
    assert list(tmp_path.iterdir()) == [out]


def test_a_killed_run_leaves_no_folder_or_the_whole(sharded_folder: Path, tmp_path: Path) -> None:
    """What was written of it goes on with --resume, and comes out the same."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = [str(BINARY), "quantize", str(sharded_folder), str(out), "-w", "int8"]
    seconds = seconds_of([*command[:3], str(whole), *command[4:]])
    expected = {path.name: path.read_bytes() for path in whole.iterdir()}
    rng, killed = random.Random(0), 0
    for _ in range(20 * KILLS):
        resumed = [*command, "--resume"] if (tmp_path / "out.partial").exists() else command
        killed += killed_at(resumed, rng.uniform(0, seconds), signal.SIGKILL)
        if out.exists():
            found = {path.name: path.read_bytes() for path in out.iterdir()}
            found.pop(".quanto-run.json", None)
            assert found == expected
            for path in out.iterdir():
                path.unlink()
            out.rmdir()
        if killed >= KILLS // 4:
            break
    assert killed >= KILLS // 4
    run(*command[1:], "--resume")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == expected


def test_a_run_killed_at_its_first_step_goes_on(sharded_folder: Path, tmp_path: Path) -> None:
    """Its folder holds nothing yet, or a part of the file that says whose it is."""
    out, left = tmp_path / "out", tmp_path / "out.partial"
    for names in ((), ("..quanto-run.json.quanto-tmp",)):
        left.mkdir()
        for name in names:
            (left / name).write_text("{")
        run("quantize", str(sharded_folder), str(out), "-w", "int8", "--resume")
        assert not left.exists()
        assert not any(path.name.startswith(".") for path in out.iterdir())
        shutil.rmtree(out)


def test_no_room_leaves_nothing(source: Path, tmp_path: Path) -> None:
    """A limit on the size of files, which every system has."""
    out = tmp_path / "out.safetensors"
    script = f"ulimit -f 10; trap '' XFSZ; exec {BINARY} quantize {source} {out} -w int8"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected room for" in done.stderr
    assert list(tmp_path.iterdir()) == []


def in_mount(options: str, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """A script in a mount of its own over the folder; skips where that is not allowed."""
    mount = f"mount {options} {folder}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("this user may not mount: needs user namespaces, or to be root")
    command = ["unshare", "-rm", "sh", "-c", f"{mount} && cd {folder} && {script}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def quiet(source: Path, out: str) -> str:
    return f"{BINARY} quantize >/dev/null {source} {out} -w int8"


FULL = "-t tmpfs -o size=128k tmpfs"


def test_a_full_disk_leaves_the_old_file(source: Path, tmp_path: Path) -> None:
    """The room is asked for before anything is written."""
    script = f"printf old >out; {quiet(source, 'out')}; echo $?; ls -A; cat out"
    done = in_mount(FULL, tmp_path, script)
    assert "out: expected room for" in done.stderr
    assert "No space left on device" in done.stderr
    assert done.stdout.split() == ["1", "out", "old"]


def test_a_disk_that_fills_up_in_the_middle(sharded_folder: Path, tmp_path: Path) -> None:
    """Files that fit are kept for --resume; the one that does not leaves nothing."""
    script = (
        f"{quiet(sharded_folder, 'out')}; echo $?; ls -A; ls -A out.partial; "
        f"mount -o remount,size=8m . && {quiet(sharded_folder, 'out')} --resume; echo $?; "
        f"{BINARY} verify out"
    )
    done = in_mount(FULL, tmp_path, script)
    lines = done.stdout.splitlines()
    assert "expected room for" in done.stderr
    assert lines[:2] == ["1", "out.partial"]
    names = lines[2 : lines.index("0")]
    assert ".quanto-run.json" in names
    assert all(name == ".quanto-run.json" or name.endswith(".safetensors") for name in names)
    assert "checksums right" in lines[-1]


def test_a_target_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    """Whoever asks, root too: a file system that is read only, and a path below a file."""
    script = f"{quiet(source, 'out.safetensors')}; echo $?; ls -A"
    done = in_mount("-t tmpfs -o ro tmpfs", tmp_path, script)
    assert "out.safetensors: expected a folder that can be written, got: Read-only" in done.stderr
    assert done.stdout.split() == ["1"]
    below = source / "out.safetensors"
    assert (
        "expected an existing folder" in run("quantize", source, below, "-w", "int8", code=1).stderr
    )


@pytest.mark.parametrize("kind", ["same", "other spelling", "symbolic link", "hard link"])
def test_the_input_is_no_target(kind: str, source: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.safetensors"
    path.write_bytes(source.read_bytes())
    out = path
    if kind == "other spelling":
        out = Path(f"{tmp_path}/./in.safetensors")
    elif kind.endswith("link"):
        out = tmp_path / "link.safetensors"
        (os.symlink if kind == "symbolic link" else os.link)(path, out)
    before = sorted(tmp_path.iterdir())
    error = run("quantize", path, out, "-w", "int8", code=1).stderr
    assert "expected another path for the output than for the input" in error
    assert path.read_bytes() == source.read_bytes()
    assert sorted(tmp_path.iterdir()) == before
