# SPDX-License-Identifier: Apache-2.0
"""What is measured of the command line: runs of a whole checkpoint, and the parts of one."""

from dataclasses import dataclass, field

from .cli_process import Usage


@dataclass(frozen=True)
class Scheme:
    """How the command line quantizes."""

    weights: str
    optimizer: str = ""
    group_size: int | None = None

    @property
    def options(self) -> list[str]:
        """The same as arguments."""
        options = ["--weights", self.weights]
        if self.group_size is not None:
            options += ["--group-size", str(self.group_size)]
        return options + (["--optimizer", self.optimizer] if self.optimizer else [])


SCHEMES = {
    "int8": Scheme("int8"),
    "int4": Scheme("int4", group_size=128),
    "int4-hqq": Scheme("int4", "hqq", 128),
}


@dataclass(frozen=True)
class Part:
    """One part alone: its time, and the CPU time of its threads."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Parts:
    """What a run is made of."""

    reading: Part
    kernels: Part
    writing: Part
    both: Part
    """Reading beside writing, which share a disk."""

    @property
    def parallel(self) -> float:
        """Seconds that they allow if kernels run beside the disk's work at their own speed."""
        return max(part.seconds for part in (self.kernels, self.both))

    @property
    def cpu_seconds(self) -> float:
        """Of kernels and writing: a mapped file need not be copied to be read."""
        return self.kernels.cpu_seconds + self.writing.cpu_seconds


@dataclass
class CliRecord:
    """One program on one kind of source; lists hold a value per round."""

    source: str
    name: str
    written: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    cached: list[float] = field(default_factory=list)
    parts: list[Parts] = field(default_factory=list)
    peak_rss: int = 0
    peak_anonymous: int = 0

    def add(self, usage: Usage) -> None:
        """A round's run."""
        self.seconds.append(usage.seconds)
        self.cpu_seconds.append(usage.cpu_seconds)
        self.peak_rss = max(self.peak_rss, usage.peak_rss)
        self.peak_anonymous = max(self.peak_anonymous, usage.peak_anonymous)
