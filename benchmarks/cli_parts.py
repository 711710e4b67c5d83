# SPDX-License-Identifier: Apache-2.0
"""What `quanto quantize` is made of: reading, kernels, writing, and the disk's two together.

Also what decides their speed: whether a file is in the page cache.
"""

import ctypes
import json
import mmap
import os
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .cli_record import Part

BLOCK = 8 * 2**20
LIBC = ctypes.CDLL(None, use_errno=True)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the tensors."""
    return sorted(folder.glob("*.safetensors"))


def reading(folder: Path) -> Part:
    """Reading all files once, one after the other."""
    block = bytearray(BLOCK)
    start, cpu = time.perf_counter(), time.process_time()
    for path in weight_files(folder):
        with path.open("rb", buffering=0) as file:
            while file.readinto(block):
                pass
    return Part(time.perf_counter() - start, time.process_time() - cpu)


def writing(folder: Path, sizes: Iterable[int]) -> Part:
    """Writing files of these sizes and bringing them to the disk."""
    folder.mkdir()
    block = memoryview(os.urandom(BLOCK))
    start, cpu = time.perf_counter(), time.process_time()
    for number, size in enumerate(sizes):
        with (folder / str(number)).open("wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            for begin in range(0, size, BLOCK):
                file.write(block[: min(BLOCK, size - begin)])
            os.fsync(file.fileno())
    return Part(time.perf_counter() - start, time.process_time() - cpu)


def both(folder: Path, out: Path, sizes: Iterable[int]) -> Part:
    """Reading all files while others of these sizes are written."""
    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(1) as beside:
        read = beside.submit(reading, folder)
        writing(out, sizes)
        read.result()
    return Part(time.perf_counter() - start, time.process_time() - cpu)


def kernels(program: Path, folder: Path, options: tuple[str, str], threads: int) -> Part:
    """quanto_cli_kernels, for (weights, optimizer)."""
    command = [str(program), str(folder), *options, str(threads)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Part(found["seconds"], found["cpu_seconds"])


def to_cache(folder: Path) -> None:
    """Reads the files, so that they are in the page cache where they fit."""
    reading(folder)


def drop(folder: Path) -> None:
    """Asks the system to forget the files; needs no privilege once they are on the disk."""
    for path in weight_files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached_share(folder: Path) -> float:
    """How much of the files the page cache holds."""
    pages = [_cached_pages(path) for path in weight_files(folder)]
    return sum(cached for cached, _ in pages) / sum(count for _, count in pages)


def _cached_pages(path: Path) -> tuple[int, int]:
    """Pages of the file that are in memory, and all of them. Looking does not read any."""
    count = -(-path.stat().st_size // mmap.PAGESIZE)
    found = (ctypes.c_ubyte * count)()
    with (
        path.open("rb") as file,
        # A private mapping can be written to, which is what gives ctypes its address.
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped,
    ):
        first = ctypes.c_char.from_buffer(mapped)
        failed = LIBC.mincore(ctypes.byref(first), ctypes.c_size_t(len(mapped)), found)
        del first  # the mapping cannot close under it
    if failed:
        raise OSError(ctypes.get_errno(), "mincore", str(path))
    return sum(byte & 1 for byte in found), count
