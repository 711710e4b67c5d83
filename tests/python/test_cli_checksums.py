# SPDX-License-Identifier: Apache-2.0
"""Checksums: what the command line writes, and that damage is found and named."""

import json
import struct
import subprocess
from pathlib import Path

import pytest
import torch
from cli import needs_binary, run
from safetensors import safe_open
from safetensors.torch import load_file, save_file

pytestmark = needs_binary

KEY = "quanto_xxh3_64"


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checksums")
    torch.manual_seed(0)
    save_file({f"{m}.weight": torch.randn(8, 64) for m in "abc"}, folder / "in.safetensors")
    run("quantize", folder / "in.safetensors", folder / "q.safetensors", "-w", "int4")
    return folder / "q.safetensors"


def header_of(content: bytes) -> dict[str, dict[str, list[int]]]:
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    del header["__metadata__"]
    return {
        name: {"at": [8 + length + offset for offset in entry["data_offsets"]]}
        for name, entry in header.items()
    }


def test_every_tensor_and_the_header_have_one(quantized: Path) -> None:
    with safe_open(quantized, framework="pt") as file:
        checksums = json.loads(file.metadata()[KEY])
        assert checksums.keys() == {*file.keys(), "__metadata__"}
    assert (
        "checksums right: 15 of 15 stored tensors, 1 of 1 headers"
        in run("verify", quantized).stdout
    )


def test_a_flipped_bit_is_found_and_named(quantized: Path, tmp_path: Path) -> None:
    """In the first, a middle and the last byte of every tensor."""
    content, damaged = quantized.read_bytes(), tmp_path / "damaged.safetensors"
    for name, place in header_of(content).items():
        begin, end = place["at"]
        for at in {begin, (begin + end) // 2, end - 1}:
            changed = bytearray(content)
            changed[at] ^= 1 << (at % 8)
            damaged.write_bytes(changed)
            error = run("verify", damaged, code=1).stderr
            assert f"{damaged}: at byte {begin}: expected checksum" in error
            assert f"of the data of '{name}', got" in error


def test_a_changed_header_is_found(quantized: Path, tmp_path: Path) -> None:
    """Though it is well-formed and its key means nothing to the tensors."""
    content, damaged = quantized.read_bytes(), tmp_path / "damaged.safetensors"
    assert content.count(b'"format":"pt"') == 1
    damaged.write_bytes(content.replace(b'"format":"pt"', b'"format":"np"'))
    assert "expected checksum" in run("verify", damaged, code=1).stderr


def test_what_has_no_checksums_is_fine_and_said(quantized: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(quantized), bare)
    assert run("verify", bare).stdout.endswith("weights finite; no checksums\n")
    some = tmp_path / "some.safetensors"
    with safe_open(quantized, framework="pt") as file:
        checksums = json.loads(file.metadata()[KEY])
    kept = {name: checksums[name] for name in sorted(checksums)[-2:]}
    save_file(load_file(quantized), some, {KEY: json.dumps(kept)})
    assert "checksums right: 2 of 15 stored tensors, 0 of 1 headers" in run("verify", some).stdout


def test_they_are_not_carried_over(quantized: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.safetensors"
    run("dequantize", quantized, back)
    assert "checksums right: 3 of 3 stored tensors, 1 of 1 headers" in run("verify", back).stdout


def test_parts_of_a_checkpoint_have_theirs(sharded_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for part in ("1/2", "2/2"):
        run("quantize", sharded_folder, out, "-w", "int8", "--shard", part)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out.partial/*.safetensors")}
    run("quantize", sharded_folder, out, "-w", "int8", "--resume")
    assert before
    for path, written in before.items():
        assert (out / path.name).stat().st_mtime_ns == written
    files = len(before)
    assert f"{files} of {files} headers" in run("verify", out).stdout


def test_they_are_what_xxhsum_prints(quantized: Path, tmp_path: Path) -> None:
    with safe_open(quantized, framework="pt") as file:
        checksums = json.loads(file.metadata()[KEY])
    content = quantized.read_bytes()
    name, place = next(iter(header_of(content).items()))
    data = tmp_path / "data"
    data.write_bytes(content[slice(*place["at"])])
    try:
        done = subprocess.run(["xxhsum", "-H3", data], capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no xxhsum that knows -H3 (Debian: xxhash)")
    assert done.stdout.strip().endswith(checksums[name])
