# SPDX-License-Identifier: Apache-2.0
"""Files are written whole or not at all, and malformed ones are one clear error."""

import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from quanto.safetensors import safe_load, safe_save


def tensors() -> dict[str, torch.Tensor]:
    return {
        "codes": torch.arange(64, dtype=torch.uint8).reshape(8, 8),
        "float8": torch.randn(4, 4).to(torch.float8_e4m3fn),
        "scale": torch.randn(8, 1, dtype=torch.bfloat16),
    }


def test_round_trip(tmp_path: Path) -> None:
    saved = tensors()
    safe_save(saved, tmp_path / "model.safetensors")
    loaded = safe_load(tmp_path / "model.safetensors")
    assert loaded.keys() == saved.keys()
    for key, tensor in saved.items():
        assert loaded[key].dtype == tensor.dtype
        assert torch.equal(loaded[key].view(torch.uint8), tensor.view(torch.uint8)), key


def test_files_say_their_version_and_later_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safe_save(tensors(), path, {"note": "x"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "quanto_format_version": "1", "note": "x"}
    safe_save(tensors(), path, {"quanto_format_version": "2"})
    with pytest.raises(ValueError, match=r"model\.safetensors: expected format version 1, got 2"):
        safe_load(path)


def test_a_tensor_with_two_names_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "tied.safetensors"
    tensor = torch.randn(100, 100)
    safe_save({"a": tensor, "b": tensor, "row": tensor[1]}, path)
    assert path.stat().st_size < 1.1 * tensor.nbytes
    loaded = safe_load(path)
    assert torch.equal(loaded["a"], tensor)
    assert loaded["a"].data_ptr() == loaded["b"].data_ptr()
    assert torch.equal(loaded["row"], tensor[1])


@pytest.mark.parametrize("tied", ["[1]", "{", '{"b": "absent"}', '{"b": ["a"]}', "3"])
def test_malformed_metadata(tmp_path: Path, tied: str) -> None:
    path = tmp_path / "bad.safetensors"
    safe_save(tensors(), path, metadata={"tied": tied})
    with pytest.raises(ValueError, match=r"bad\.safetensors: expected a whole"):
        safe_load(path)


def test_the_key_of_another_program_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(tensors(), path, {"tied": "hands"})
    assert safe_load(path).keys() == tensors().keys()


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safe_save(tensors(), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="expected a tensor for bad, got int"):
        safe_save({"bad": 3}, path)  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        safe_save(tensors(), path, metadata={"key": 3})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


MALFORMED = {
    "empty": b"",
    "short header length": b"\x10\x00",
    "header longer than the file": struct.pack("<Q", 1 << 20) + b"{}",
    "header of almost 2^64 bytes": struct.pack("<Q", 2**64 - 1) + b"{}",
    "not JSON": header(b"hello"),
    "offsets past the end": header(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    "offsets backwards": header(b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[8,0]}}')
    + bytes(8),
    "shape and bytes disagree": header(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,8]}}')
    + bytes(8),
    "shape overflows": header(
        b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}'
    )
    + bytes(8),
    "unknown dtype": header(b'{"a":{"dtype":"X9","shape":[2],"data_offsets":[0,8]}}') + bytes(8),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_file_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(MALFORMED[name])
    with pytest.raises(ValueError, match=r"bad\.safetensors: expected a whole") as error:
        safe_load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 7, 8, 40, -1])
def test_truncated_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    safe_save(tensors(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="expected a whole safetensors file"):
        safe_load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        safe_load(tmp_path / "absent.safetensors")
