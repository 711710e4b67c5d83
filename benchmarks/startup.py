"""What importing the package adds to importing torch."""

import subprocess
import sys
import time

STATEMENTS = {"torch": "import torch", "quanto": "import torch, quanto"}


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of a process that imports torch alone, and with us, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds + 1):  # the first round warms the page cache
        for name, statement in STATEMENTS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            seconds[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in seconds.items()}
