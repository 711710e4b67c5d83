# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the command line runs, on a small checkpoint."""

import json
import os
from pathlib import Path

import pytest
from cli import BINARY, ROOT, needs_binary

from benchmarks import cli, cli_checkpoint, cli_parts

KERNELS = Path(
    os.environ.get("QUANTO_CLI_KERNELS", ROOT / "build/wheel/benchmarks/quanto_cli_kernels")
)
SIZE_MIB = 8


def test_the_checkpoint_is_reproducible_and_of_its_size(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    size = cli_checkpoint.generate(one, SIZE_MIB * 2**20)
    cli_checkpoint.generate(two, SIZE_MIB * 2**20)
    assert size >= SIZE_MIB * 2**20
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in two.iterdir()}
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
    index = json.loads((one / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == size
    assert set(index["weight_map"].values()) == {p.name for p in cli_parts.weight_files(one)}


@needs_binary
@pytest.mark.skipif(
    not KERNELS.is_file(), reason="no quanto_cli_kernels: set QUANTO_CLI_KERNELS or run make build"
)
def test_it_measures_every_scheme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "bench.json"
    where = ["--quanto", str(BINARY), "--kernels", str(KERNELS), "--folder", str(tmp_path)]
    how = ["--size", str(SIZE_MIB), "--rounds", "1", "--schemes", "int8", "int4-hqq"]
    cli.main([*where, *how, "--output", str(output)])
    records = {(r["source"], r["name"]): r for r in json.loads(output.read_text())}
    assert {source for source, _ in records} == {"cache", "disk"}
    assert {name for _, name in records} == {"cp and sync", "quanto int8", "quanto int4-hqq"}
    for (_, name), record in records.items():
        assert len(record["seconds"]) == 1
        assert record["seconds"][0] > 0
        assert len(record["parts"]) == (0 if name == "cp and sync" else 1)
    int8, hqq = records["cache", "quanto int8"], records["cache", "quanto int4-hqq"]
    assert hqq["written"] < int8["written"] < records["cache", "cp and sync"]["written"]
    printed = capsys.readouterr().out
    assert "optimum.quanto: not installed, not measured." in printed
    assert "% of parts" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
