"""The table, the machine line and the files of the demo."""

import json
import platform
from dataclasses import asdict
from pathlib import Path

import torch

import quanto

from .chart import draw
from .experiment import Experiment, is_kept
from .measure import Spread
from .rows import Row, float_row_of

COLUMNS = (
    "scheme",
    "quantized MB",
    "rest MB",
    "bits/weight",
    "process saves MB",
    "perplexity",
    "prefill ms",
    "/ float",
    "ms/token",
    "/ float",
    "quantize s",
    "save s",
    "reload s",
)


def machine() -> str:
    """CPU, instruction set in use, threads and versions."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return (
        f"{cpu}, {torch.get_num_threads()} threads; kernels {torch.ops.quanto.isa()}; "
        f"quanto {quanto.__version__}, torch {torch.__version__} "
        f"({torch.backends.cpu.get_cpu_capability()})"
    )


def table(rows: list[Row]) -> str:
    """Markdown, one block of rows for each dtype."""
    lines = [["dtype", *COLUMNS]] + [_cells(row, float_row_of(rows, row.dtype)) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])


def _cells(row: Row, base: Row) -> list[str]:
    return [
        row.dtype,
        f"{row.scheme} ({row.remark})" if row.remark else row.scheme,
        f"{row.size.quantized / 1e6:.2f}",
        f"{row.size.rest / 1e6:.2f}",
        f"{row.bits_per_weight:.2f}",
        _saved(row, base),
        _perplexity(row, base),
        _milliseconds(row.prefill),
        _ratio(row.prefill_ratio),
        _milliseconds(row.decode),
        _ratio(row.decode_ratio),
        *(f"{s:.2f}" if s is not None else "" for s in (row.quantize_s, row.save_s, row.reload_s)),
    ]


def _saved(row: Row, base: Row) -> str:
    if row.process_saved is None:
        return ""
    share = row.process_saved / (base.size.quantized - row.size.quantized)
    return f"{row.process_saved / 1e6:.1f} ({share:.1%} of formula)"


def _perplexity(row: Row, base: Row) -> str:
    if row.perplexity is None:
        return ""
    text = f"{row.perplexity:.3f}" if row.perplexity < 1e4 else f"{row.perplexity:.1e}"
    if row is base or base.perplexity is None or row.perplexity >= 1e4:
        return text
    return f"{text} ({row.perplexity / base.perplexity - 1:+.2%})"


def _milliseconds(time: Spread | None) -> str:
    return f"{1e3 * time.median:.1f}" if time else ""


def _ratio(ratio: Spread | None) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}-{ratio.high:.2f}]" if ratio else ""


def notes(experiment: Experiment) -> list[str]:
    """What a reader has to know beside the figures."""
    settings, source = experiment.settings, experiment.source
    windows, length = len(settings.windows), settings.windows[0].shape[1]
    lines = [
        "MB are 10^6 bytes: the quantized layers with their scales and shifts, and the rest, "
        "apart. Process saves: anonymous memory before and after, each after a forward pass, in a "
        "process of its own (models that save less than 64 MiB are too small to tell); the formula "
        "is data + scale + shift of the quantized layers.",
        f"Stays float: {', '.join(experiment.left_float) or 'nothing'}.",
        f"Perplexity: {windows} windows of {length} tokens of {source.text.name}.{source.remark}",
        f"Times: a prefill of {settings.prompt.shape[1]} tokens and {settings.tokens} decoded "
        f"ones, {settings.rounds} times in turns with the float model of the same dtype. Medians; "
        "/ float: median [lowest-highest] of the ratios of neighbouring runs, below 1 is faster.",
        "Reload: from the file to the first logits. int2 stands for its size and speed: rounding "
        "between minimum and maximum to 2 bits leaves no usable language model.",
    ]
    return lines + ([source.note] if source.note else [])


def publish(experiment: Experiment, rows: list[Row]) -> None:
    """Prints the report and writes it, the figures and the chart to the output directory."""
    output, name = experiment.settings.output, experiment.source.name
    document = "\n\n".join([f"# {name}", machine(), table(rows), *notes(experiment), kernels(rows)])
    document += f"\n\nPrompt: {experiment.source.prompt}\n"
    document += "".join(f"\n- {scheme}: {text}" for scheme, text in experiment.answers.items())
    document += "".join(f"\n\n{_reloaded(row, output)}" for row in rows if is_kept(row))
    print(f"\n{document}\n")
    (output / "report.md").write_text(document + "\n")
    facts = {"model": name, "machine": machine(), "answers": experiment.answers}
    results = facts | {"rows": [asdict(row) for row in rows]}
    (output / "results.json").write_text(json.dumps(results, indent=2))
    draw(output / "chart.png", rows, f"{name}: {machine()}")
    print(f"Written: {output}/report.md, results.json, chart.png, explain.txt")


def kernels(rows: list[Row]) -> str:
    """Which kernels ran, by dtype and scheme."""
    lines = [f"- {row.dtype} {row.scheme}: {', '.join(row.kernels)}" for row in rows if row.kernels]
    return "\n".join(["Kernels by rows of input:", "", *lines])


def _reloaded(row: Row, output: Path) -> str:
    verdict = "identical" if row.identical_after_reload else "DIFFERENT"
    return f"{row.scheme} saved to {output / 'int4'} and reloaded: the logits are {verdict}."
