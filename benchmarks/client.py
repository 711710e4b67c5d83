"""The orchestrating end of worker.py."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

# Libraries that build a dense weight on each call would otherwise map and unmap it: the figure
# would be the page faults'. Given to every worker alike.
KEEP_TEMPORARIES = {
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30),
}
WITHOUT_COMPILER = {"SDNQ_USE_TORCH_COMPILE": "0"}
"""No library compiles at its first call: what is measured is what it brings."""
ROOT = Path(__file__).resolve().parents[1]
SETTLE_SECONDS = 0.02
"""OpenMP threads spin on after their work: one worker's must sleep before another's run."""


PATIENCE_SECONDS = 300
"""For one answer: a library may compile at its first call, but not wait for a lock for ever."""


class WorkerDied(Exception):
    """Says which worker, how it ended and what it was asked to do."""


class Worker:
    """One library in one environment. A worker that dies is started again by the next request."""

    def __init__(self, name: str, python: Path, package: str, threads: int, keep: bool) -> None:
        self.name = name
        self._command = [str(python), "-m", "benchmarks.worker", package]
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONSAFEPATH": "1"}
        self._environment |= WITHOUT_COMPILER | (KEEP_TEMPORARIES if keep else {})
        # What else is on our path belongs to our environment.
        own = [os.environ.get("PYTHONPATH")] if python == Path(sys.executable) else []
        self._environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, own)])
        self._threads = threads
        self._process: subprocess.Popen[str] | None = None
        self.facts = self.ask("describe", threads=threads)

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The reply of that method of Bench."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do} | arguments) + "\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], PATIENCE_SECONDS)[0]:
                self._give_up(process, do)
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process = None
            raise WorkerDied(f"{self.name}: process ended with status {process.wait()} in {do}")
        return dict(json.loads(line))

    def measure(self, **arguments: Any) -> float:
        """Seconds of a call, measured with the other workers asleep."""
        time.sleep(SETTLE_SECONDS)
        return float(self.ask("measure", **arguments)["seconds"])

    def close(self) -> None:
        """Ends the process."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()

    def _give_up(self, process: subprocess.Popen[str], do: str) -> NoReturn:
        self._process = None
        process.kill()
        process.wait()
        raise WorkerDied(f"{self.name}: no answer to {do} within {PATIENCE_SECONDS} s")

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            text=True,
        )
        return self._process
