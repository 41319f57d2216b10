"""Figures by their fixed names (design section 9), as a table and as `.bench/latest.json`."""

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LATEST = Path(".bench") / "latest.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One result: medians of `runs` runs. `ratio` is value to baseline; None for an absolute figure."""

    name: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    runs: int


def against(name: str, unit: str, values: Sequence[float], baselines: Sequence[float]) -> Figure:
    """A figure of paired runs: its ratio is the median of the pairs' ratios, which share their minute."""
    ratio = statistics.median(v / b for v, b in zip(values, baselines, strict=True))
    value, baseline = statistics.median(values), statistics.median(baselines)
    return Figure(name, round(value, 1), unit, round(baseline, 1), round(ratio, 3), len(values))


def absolute(name: str, unit: str, values: Sequence[float]) -> Figure:
    """A figure that stands alone."""
    return Figure(name, round(statistics.median(values), 3), unit, None, None, len(values))


def publish(figures: Sequence[Figure]) -> None:
    """Prints the table and writes the file."""
    header = ("name", "value", "baseline", "unit", "ratio", "runs")
    rows = [header, *((f.name, f.value, f.baseline, f.unit, f.ratio, f.runs) for f in figures)]
    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    for row in texts:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
