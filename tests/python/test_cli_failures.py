# SPDX-License-Identifier: Apache-2.0
"""Misuse and memory."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cli import BINARY, needs_binary, run
from safetensors.torch import load_file, save_file

pytestmark = needs_binary


MISUSES = {
    "no command": ([], 2, "A subcommand is required"),
    "unknown option": (["quantize", "IN", "OUT", "--bits", "4"], 2, "--bits"),
    "no type": (["quantize", "IN", "OUT"], 2, "expected --weights or --policy"),
    "unknown type": (["quantize", "IN", "OUT", "-w", "int3"], 2, "got int3"),
    "bad shard": (["quantize", "IN", "OUT", "-w", "int8", "--shard", "3/2"], 2, "got 3/2"),
    "groups of 8 bits": (["quantize", "IN", "OUT", "-w", "int8", "-g", "32"], 2, "for int8"),
    "bad groups": (["quantize", "IN", "OUT", "-w", "int4", "-g", "48"], 1, "got 48"),
    "no input": (["quantize", "NONE", "OUT", "-w", "int8"], 1, "expected a readable file"),
    "same path": (["quantize", "IN", "IN/", "-w", "int8"], 1, "expected another path"),
    "folder with files": (["quantize", "IN", "FULL", "-w", "int8"], 1, "an empty one"),
    "no parent": (["quantize", "IN", "NONE/out", "-w", "int8"], 1, "an existing folder"),
    "no match": (["quantize", "IN", "OUT", "-w", "int8", "--include", "x"], 1, "got none for x"),
    "float input": (["dequantize", "IN", "OUT"], 1, "expected quantized weights"),
    "no tensors": (["inspect", "FULL"], 1, "expected model.safetensors"),
    "corrupt": (["verify", "FULL/corrupt.safetensors"], 1, "is the file whole?"),
    "other model": (["compare", "IN", "FULL/other.safetensors"], 1, "which the other checkpoint"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_is_one_line(misuse: str, model_folder: Path, tmp_path: Path) -> None:
    arguments, code, message = MISUSES[misuse]
    full = tmp_path / "full"
    full.mkdir()
    save_file({"w": torch.zeros(4)}, full / "other.safetensors")
    whole = (full / "other.safetensors").read_bytes()
    (full / "corrupt.safetensors").write_bytes(whole[:-4])
    places = {"IN": model_folder, "OUT": tmp_path / "out", "FULL": full, "NONE": tmp_path / "none"}
    filled = [
        f"{places[head]}{slash}{rest}" if head in places else argument
        for argument in arguments
        for head, slash, rest in [argument.partition("/")]
    ]
    assert message in run(*filled, code=code).stderr
    assert not (tmp_path / "out").exists()


def test_quantized_input_is_refused(model_folder: Path, tmp_path: Path) -> None:
    run("quantize", model_folder, tmp_path / "a", "-w", "int8")
    again = run("quantize", tmp_path / "a", tmp_path / "b", "-w", "int4", code=1)
    assert "expected a float model" in again.stderr


def test_infinity_is_named(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(model_folder, folder)
    state = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    state[name][3, 4] = float("inf")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    done = run("quantize", folder, tmp_path / "out", "-w", "int4", code=1)
    assert name in done.stderr
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out.partial/*.safetensors"))


def large_file(path: Path) -> None:
    """Enough work to be killed in the middle of it."""
    torch.manual_seed(0)
    save_file({f"m{i}.weight": torch.randn(512, 1024) for i in range(8)}, path)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("large") / "large.safetensors"
    large_file(path)
    yield path
    path.unlink()


def test_memory_is_that_of_two_tensors(large: Path, tmp_path: Path) -> None:
    """Anonymous memory, sampled while it runs, against twice the largest tensor.

    What the process has anyway (libraries, stacks, the heap's own) is measured by a small run.
    """
    small = tmp_path / "small.safetensors"
    save_file({"m.weight": torch.randn(4, 32)}, small)
    many = ["-w", "int4", "--optimizer", "hqq", "--threads", "2"]
    base = anonymous_peak("quantize", small, tmp_path / "a.safetensors", *many)
    peak = anonymous_peak("quantize", large, tmp_path / "b.safetensors", *many)
    largest = 512 * 1024 * 4
    assert 0 < peak - base < 2 * largest


def anonymous_peak(*arguments: object) -> int:
    """The largest RssAnon seen, in bytes."""
    process = subprocess.Popen(
        [str(BINARY), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status")
        try:
            lines = status.read_text().splitlines()
        except OSError:
            break
        for line in lines:
            if line.startswith("RssAnon:"):
                peak = max(peak, int(line.split()[1]) * 1024)
    assert process.wait() == 0
    return peak
