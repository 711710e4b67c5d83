"""What quantization gives back to the system, measured in a process of its own.

    python -m examples.demo.footprint MODEL_DIRECTORY DTYPE SCHEME...

One JSON line per scheme: the anonymous memory of the process with the float model and with the
quantized one, in bytes.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from . import model as models
from .model import REPOSITORY
from .schemes import scheme

MEASURABLE = 64 * 2**20
"""Below this, what a process happens to hold besides the model decides its size."""
# Freed tensors go back to the system at once instead of staying in the allocator's lists.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def measure(path: Path, dtype: torch.dtype, names: list[str]) -> Iterator[dict[str, Any]]:
    """Runs this file as a child process and yields its lines as they come."""
    module = [sys.executable, "-m", "examples.demo.footprint"]
    command = [*module, str(path.resolve()), str(dtype).removeprefix("torch."), *names]
    environment = os.environ | ENVIRONMENT
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, cwd=REPOSITORY, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            yield json.loads(line)
    if child.returncode:
        raise RuntimeError(f"footprint: expected exit status 0, got {child.returncode}")


def anonymous_bytes() -> int:
    """Memory of this process that no file backs, after giving back what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


@torch.no_grad()
def main(path: Path, dtype: torch.dtype, names: list[str]) -> None:
    """Prints the lines."""
    tokens = torch.arange(8)[None]
    for name in names:
        scheme(name).apply(torch.nn.Sequential(torch.nn.Linear(256, 256, dtype=dtype)))
        model = models.load(path, dtype)
        model(tokens)
        before = anonymous_bytes()
        scheme(name).apply(model)
        model(tokens)
        after = anonymous_bytes()
        print(json.dumps({"scheme": name, "before": before, "after": after}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), getattr(torch, sys.argv[2]), sys.argv[3:])
