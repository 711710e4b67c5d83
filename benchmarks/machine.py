"""The machine: its limits by quanto_probe, its last cache and its free memory."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .record import Record

DEFAULT_CACHE = 32 * 2**20


def last_cache_bytes() -> int:
    """The largest cache of the first CPU, as the kernel tells it."""
    sizes = [
        int(path.read_text().strip().removesuffix("K")) * 1024
        for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    ]
    return max(sizes, default=DEFAULT_CACHE)


def available_bytes() -> int:
    """What the kernel would give without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    line = next(line for line in lines if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def cpu_name() -> str:
    """The model of the first CPU."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def working_set_bytes(layers: int) -> int:
    """Twice the last cache, or what `layers` such sets may take of half the free memory."""
    return min(2 * last_cache_bytes(), available_bytes() // 2 // layers)


@dataclass(frozen=True)
class Limits:
    """What quanto_probe measured."""

    read_gbs: float
    copy_gbs: float
    computes: list[dict[str, Any]]

    def gops(self, *dtypes: str) -> float:
        """10^9 operations a second, the best instruction for one of `dtypes`."""
        return float(max(c["gops"] for c in self.computes if c["dtype"] in dtypes))

    def memory_seconds(self, bytes_read: int) -> float:
        """The least time to read so many bytes."""
        return 1e-9 * bytes_read / self.read_gbs

    def compute_seconds(self, operations: int, dtype: str) -> float:
        """A bf16 layer may compute in fp32 as well, where that is faster."""
        dtypes = ("fp32", "bf16") if dtype == "bfloat16" else ("fp32",)
        return 1e-9 * operations / self.gops(*dtypes)

    def seconds(self, record: Record) -> float:
        """The least time of a call."""
        memory = self.memory_seconds(record.bytes_read)
        return max(memory, self.compute_seconds(record.operations, record.dtype))


def probe(program: Path, working_set: int, threads: int) -> Limits:
    """Runs quanto_probe."""
    command = [str(program), str(working_set // 2**20), str(threads)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Limits(found["read_gbs"], found["copy_gbs"], found["computes"])
