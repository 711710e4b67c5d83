"""Facts that do not depend on the machine's speed, for automatic runs."""

from collections.abc import Iterator

from .rows import Row, float_row_of

INT8_PERPLEXITY = 0.003
FLOAT8_PERPLEXITY = 0.025
PROCESS_SAVING = 0.03


def failures(rows: list[Row], compare_optimizers: bool) -> Iterator[str]:
    """A line for each fact that does not hold.

    HQQ makes weight errors small, which on a tiny model need not show in its perplexity:
    `compare_optimizers` asks for it.
    """
    for row in rows:
        where = f"{row.scheme} {row.dtype}"
        if row.size.quantized != row.expected_bytes:
            yield f"{where}: expected {row.expected_bytes} bytes, got {row.size.quantized}"
        if row.identical_after_reload is False:
            yield f"{where}: expected identical logits after a reload, got others"
        base = float_row_of(rows, row.dtype)
        saved = base.size.quantized - row.size.quantized
        if row.process_saved is None:
            continue
        if abs(row.process_saved - saved) > PROCESS_SAVING * saved:
            yield f"{where}: expected a process to save {saved} bytes, got {row.process_saved}"
    perplexity = {row.scheme: row.perplexity for row in rows if row.perplexity is not None}
    yield from _perplexity_failures(perplexity, compare_optimizers)


def _perplexity_failures(perplexity: dict[str, float], compare_optimizers: bool) -> Iterator[str]:
    base = perplexity["float"]
    for name, bound in (("int8", INT8_PERPLEXITY), ("float8", FLOAT8_PERPLEXITY)):
        change = perplexity[name] / base - 1
        if abs(change) > bound:
            yield f"{name}: expected a perplexity within {bound:.1%} of float, got {change:+.2%}"
    if compare_optimizers and perplexity["int4 HQQ"] >= perplexity["int4"]:
        yield (
            f"int4 HQQ: expected a perplexity below {perplexity['int4']:.3f} (min-max), "
            f"got {perplexity['int4 HQQ']:.3f}"
        )
