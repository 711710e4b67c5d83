# SPDX-License-Identifier: Apache-2.0
"""Malformed files are one line that names them, and nothing is written."""

import json
import struct
from pathlib import Path

import pytest
import torch
from cli import needs_binary, run
from safetensors.torch import load_file, save_file

pytestmark = needs_binary


def file_of(header: bytes, data: int = 8) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(data)


def tensor(begin: int, end: int, dtype: str = "U8") -> str:
    shape = [end - begin]
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]})


TWO = f'{{"a":{tensor(0, 4)},"b":{tensor(4, 8)}}}'.encode()

FILES = {
    "empty": (b"", "expected a length of 8 bytes, got 0"),
    "truncated length": (b"\x10\0\0", "expected a length of 8 bytes, got 3"),
    "truncated header": (file_of(TWO, 0)[:-9], "expected a header of at most the"),
    "truncated data": (file_of(TWO, 7), "is the file whole?"),
    "more data": (file_of(TWO, 9), "expected the tensors to cover 9 bytes of data, got 8"),
    "huge header": (struct.pack("<Q", 2**40) + b"{}", "expected a header of at most 100000000"),
    "largest header": (struct.pack("<Q", 2**64 - 1) + b"{}", "at most 100000000"),
    "corrupt header": (file_of(TWO.replace(b":", b"~", 1)), "expected a header of JSON in UTF-8"),
    "not a header": (file_of(b"hello"), "begins with '{'"),
    "overlap": (
        file_of(f'{{"a":{tensor(0, 5)},"b":{tensor(3, 8)}}}'.encode()),
        "expected 'b' to begin at data offset 5",
    ),
    "hole": (
        file_of(f'{{"a":{tensor(0, 3)},"b":{tensor(5, 8)}}}'.encode()),
        "expected 'b' to begin at data offset 3",
    ),
    "duplicate key": (
        file_of(f'{{"a":{tensor(0, 4)},"a":{tensor(4, 8)}}}'.encode()),
        "expected each key once, got 'a' twice",
    ),
    "duplicate field": (
        file_of(TWO.replace(b'"shape": [4]', b'"dtype": "U8"')),
        "expected each key once, got 'dtype' twice",
    ),
    "not UTF-8": (file_of(TWO.replace(b'"a"', b'"\xff"')), "expected a header of JSON in UTF-8"),
    "deep": (file_of(b'{"a":' + b"[" * 100_000), "expected an entry for each tensor, got an array"),
    "deep shape": (
        file_of(b'{"a":{"shape":' + b"[" * 100_000),
        "expected an array of sizes as shape, got an array",
    ),
    "unknown dtype": (
        file_of(TWO.replace(b"U8", b"U7")),
        "expected a known dtype of 'a', got 'U7'",
    ),
    "wrong dtype": (
        file_of(TWO.replace(b"U8", b"F32", 1)),
        "expected 16 bytes of 'a' by dtype and shape, got 4",
    ),
    "shape overflows": (
        file_of(TWO.replace(b"[4]", b"[4294967296, 4294967296]", 1)),
        "makes whole bytes below 2^64 bits",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files(case: str, tmp_path: Path) -> None:
    content, message = FILES[case]
    path, out = tmp_path / "bad.safetensors", tmp_path / "out.safetensors"
    path.write_bytes(content)
    for command in (["verify", path], ["inspect", path], ["quantize", path, out, "-w", "int8"]):
        error = run(*command, code=1).stderr
        assert error.startswith(f"quanto: {path}: ")
        assert message in error
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two files and their index."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for name in "ab":
        save_file({f"{name}.weight": torch.ones(4, 4)}, folder / f"{name}.safetensors")
    index = {"weight_map": {f"{name}.weight": f"{name}.safetensors" for name in "ab"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    run("verify", folder)
    return folder


INDEXES = {
    "duplicate key": (b'{"weight_map":{},"weight_map":{}}', "'weight_map' twice"),
    "not UTF-8": (b'{"weight_map":{"\xff":"a.safetensors"}}', "UTF-8"),
    "deep": (b'{"weight_map":' + b"[" * 100_000, "deep"),
    "not JSON": (b"{", "JSON"),
    "no map": (b"{}", "expected an object weight_map, got none"),
    "another folder": (b'{"weight_map":{"a":"../a.safetensors"}}', "in the same folder for 'a'"),
    "root": (b'{"weight_map":{"a":"/a.safetensors"}}', "in the same folder for 'a'"),
    "missing tensor": (
        b'{"weight_map":{"a.weight":"a.safetensors","c":"a.safetensors"}}',
        "expected 'c' in a.safetensors, got none there",
    ),
    "wrong file": (
        b'{"weight_map":{"a.weight":"a.safetensors","b.weight":"a.safetensors"}}',
        "expected 'b.weight' in a.safetensors, got none there",
    ),
}


@pytest.mark.parametrize("case", INDEXES)
def test_indexes(case: str, shards: Path, tmp_path: Path) -> None:
    content, message = INDEXES[case]
    path = shards / "model.safetensors.index.json"
    path.write_bytes(content)
    for command in (["verify", shards], ["quantize", shards, tmp_path / "out", "-w", "int8"]):
        error = run(*command, code=1).stderr
        assert error.startswith(f"quanto: {path}")
        assert message in error
    assert list(tmp_path.iterdir()) == [shards]


def test_a_missing_shard_is_named(shards: Path, tmp_path: Path) -> None:
    (shards / "b.safetensors").unlink()
    error = run("quantize", shards, tmp_path / "out", "-w", "int8", code=1).stderr
    assert f"{shards / 'b.safetensors'}: expected a readable file, got: No such file" in error
    assert list(tmp_path.iterdir()) == [shards]


CONFIGS = {
    "not JSON": b"{",
    "not UTF-8": b'{"a":"\xff"}',
    "deep": b'{"a":' + b"[" * 100_000,
    "duplicate key": b'{"a":1,"a":2}',
}


@pytest.mark.parametrize("case", CONFIGS)
def test_configs(case: str, shards: Path, tmp_path: Path) -> None:
    (shards / "config.json").write_bytes(CONFIGS[case])
    error = run("quantize", shards, tmp_path / "out", "-w", "int8", code=1).stderr
    assert error.startswith(f"quanto: {shards / 'config.json'}: ")
    assert list(tmp_path.iterdir()) == [shards]


def test_tensors_of_a_wrong_type_are_named(tmp_path: Path) -> None:
    """A scale that is not of a float type, beside codes that are right."""
    path = tmp_path / "q.safetensors"
    save_file({"m.weight": torch.randn(4, 32)}, tmp_path / "in.safetensors")
    run("quantize", tmp_path / "in.safetensors", path, "-w", "int8")
    state = load_file(path)
    state["m.weight._scale"] = state["m.weight._scale"].to(torch.int32)
    save_file(state, path)
    error = run("verify", path, code=1).stderr
    assert "m.weight._scale" in error
    assert "I32" in error
