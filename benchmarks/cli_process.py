# SPDX-License-Identifier: Apache-2.0
"""Runs a program and tells how long it took and how much memory it held."""

import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.005


@dataclass(frozen=True)
class Usage:
    """Of one process. Memory is 0 if it ended before the first look at it."""

    seconds: float
    cpu_seconds: float
    """Of its threads together, the system's work for them included."""
    peak_rss: int
    peak_anonymous: int
    """RssAnon, the largest seen: what the program allocated, not what it mapped from files."""


def run(command: list[str], environment: dict[str, str] | None = None) -> Usage:
    """Waits for the command; raises CalledProcessError with its stderr if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (environment or {}),
    )
    before = _children_seconds()
    peak_rss = peak_anonymous = 0
    while process.poll() is None:
        rss, anonymous = _memory(process.pid)
        peak_rss, peak_anonymous = max(peak_rss, rss), max(peak_anonymous, anonymous)
        time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - start
    _, errors = process.communicate()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)
    return Usage(seconds, _children_seconds() - before, peak_rss, peak_anonymous)


def _children_seconds() -> float:
    """CPU time of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(pid: int) -> tuple[int, int]:
    """(VmHWM, RssAnon) in bytes; 0 of a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return sizes.get("VmHWM:", 0), sizes.get("RssAnon:", 0)
