# SPDX-License-Identifier: Apache-2.0
"""GGUF files of another writer (gguf-py) on the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import needs_binary, run

gguf = pytest.importorskip("gguf", reason="gguf is not installed")
pytestmark = needs_binary

# ggml has dropped four bytes of a block that gguf-py still counts; no file holds the type.
NOT_COMPARED = {"Q8_1"}


def _write(path: Path, endianess: Any = gguf.GGUFEndian.LITTLE) -> Path:
    writer = gguf.GGUFWriter(str(path), "llama", endianess=endianess)
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope.freq_base", 10000.5)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_string("tokenizer.chat_template", "{{ 'ü' }}\n" * 20)
    writer.add_array("tokenizer.ggml.tokens", ["<s>", "a"])
    writer.add_tensor("norm", np.arange(64, dtype=np.float32))
    writer.add_tensor("half", np.ones((3, 5), np.float16))
    q4 = np.zeros((6, 2 * 18), np.uint8)
    writer.add_tensor("blk.0.w", q4, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return _write(tmp_path / "model.gguf")


def test_inspects(file: Path) -> None:
    report = json.loads(run("inspect", file, "--json").stdout)
    assert report["format"] == "gguf"
    assert report["version"] == 3
    assert report["metadata"]["llama.block_count"] == 2
    assert report["metadata"]["llama.rope.freq_base"] == 10000.5
    assert report["metadata"]["tokenizer.ggml.add_bos_token"] is True
    assert report["metadata"]["tokenizer.ggml.tokens"] == {"array": "string", "count": 2}
    tensors = {tensor["name"]: tensor for tensor in report["tensors"]}
    assert tensors["blk.0.w"] == {
        "name": "blk.0.w",
        "type": "Q4_0",
        "shape": [6, 64],
        "elements": 384,
        "bytes": 216,
        "bits_per_weight": 4.5,
        "group_size": 32,
    }
    assert tensors["half"]["shape"] == [3, 5]
    assert report["quantized"] is True
    assert report["bytes"] == 216 + 64 * 4 + 15 * 2


def test_shows_a_table(file: Path) -> None:
    text = run("inspect", file).stdout
    assert "llama.block_count = 2\n" in text
    assert "tokenizer.ggml.tokens = 2 of string\n" in text
    assert "blk.0.w" in text
    assert " 4.50 " in text


@pytest.mark.parametrize("type", gguf.GGMLQuantizationType, ids=lambda type: type.name)
def test_knows_the_size_of_every_type(type: Any, tmp_path: Path) -> None:
    elements, size = gguf.GGML_QUANT_SIZES[type]
    if type.name in NOT_COMPARED:
        pytest.skip(f"gguf-py and ggml have other sizes for {type.name}")
    writer = gguf.GGUFWriter(str(tmp_path / "one"), "llama")
    writer.add_tensor_info("t", [3, 2 * size], np.dtype(np.uint8), 6 * size, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    path = tmp_path / "one"
    head = path.read_bytes()
    path.write_bytes(head + bytes(-len(head) % 32 + 6 * size))
    (tensor,) = json.loads(run("inspect", path, "--json").stdout)["tensors"]
    assert tensor["type"] == type.name
    assert tensor["shape"] == [3, 2 * elements]
    assert tensor["bytes"] == 6 * size


def test_verifies(file: Path) -> None:
    assert "3 tensors: file whole" in run("verify", file).stdout
    file.write_bytes(file.read_bytes()[:-200])
    assert "is the file whole?" in run("verify", file, code=1).stderr


def test_refuses_big_endian(tmp_path: Path) -> None:
    path = _write(tmp_path / "big", gguf.GGUFEndian.BIG)
    assert "got a big-endian one" in run("inspect", path, code=1).stderr


@pytest.mark.parametrize("command", ["quantize", "dequantize", "compare"])
def test_other_commands_refuse(command: str, file: Path, tmp_path: Path) -> None:
    other = file if command == "compare" else tmp_path / "out"
    options = ["--weights", "int4"] if command == "quantize" else []
    assert "got a GGUF file" in run(command, file, other, *options, code=1).stderr
    assert not (tmp_path / "out").exists()
