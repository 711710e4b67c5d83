"""One row of the table: a model under one scheme."""

from dataclasses import dataclass, field

from .measure import Size, Spread


@dataclass
class Row:
    """Times in seconds; ratios are to the float model of the same dtype, run beside it."""

    scheme: str
    dtype: str
    remark: str = ""
    size: Size = field(default_factory=lambda: Size(0, 0))
    expected_bytes: int = 0
    weights: int = 0
    perplexity: float | None = None
    prefill: Spread | None = None
    decode: Spread | None = None
    prefill_ratio: Spread | None = None
    decode_ratio: Spread | None = None
    quantize_s: float | None = None
    save_s: float | None = None
    reload_s: float | None = None
    process_saved: int | None = None
    identical_after_reload: bool | None = None
    kernels: list[str] = field(default_factory=list)
    """The kernels of its forward with one row and with the prompt's."""

    @property
    def bits_per_weight(self) -> float:
        """Scales and shifts included."""
        return 8 * self.size.quantized / self.weights


def float_row_of(rows: list[Row], dtype: str) -> Row:
    """What the other rows of that dtype are compared with."""
    return next(row for row in rows if row.scheme == "float" and row.dtype == dtype)
