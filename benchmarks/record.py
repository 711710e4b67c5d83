"""One measured thing: a layer of a library at a number of rows, through one kind of call."""

import statistics
from dataclasses import dataclass, field


@dataclass
class Record:
    """`seconds` holds one mean per round; `error` says why there are none."""

    library: str
    layer: str
    """A qtype, or torch: the float layer of that dtype."""
    dtype: str
    n: int
    k: int
    rows: int
    call: str = "module"
    bytes: int = 0
    copies: int = 0
    error: str = ""
    seconds: list[float] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Names the layer in its worker."""
        return f"{self.layer} {self.dtype}"

    @property
    def operations(self) -> int:
        """Multiplications and additions of a call."""
        return 2 * self.rows * self.n * self.k

    @property
    def bytes_read(self) -> int:
        """The weight as stored, and the activations."""
        return self.bytes + self.rows * self.k * (4 if self.dtype == "float32" else 2)


@dataclass(frozen=True)
class Spread:
    """Median and extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def ratio(record: Record, base: Record) -> Spread:
    """Of neighbouring runs: both were measured in every round, in the same process."""
    pairs = zip(record.seconds, base.seconds, strict=True)
    return Spread.of([own / other for own, other in pairs])
