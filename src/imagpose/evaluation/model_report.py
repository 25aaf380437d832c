"""What `imagpose evaluate model` leaves behind: a line per method, a column per measure, each protocol on its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from imagpose.evaluation.folders import Pair
from imagpose.evaluation.image_rows import METRICS, REAL, Metric, Row, cell_text
from imagpose.evaluation.images_report import (
    HOW_TO_READ,
    library_versions,
    notes_of,
    pair_table,
    pictured_strips,
    replace_file,
)
from imagpose.evaluation.page import build_page, html_table
from imagpose.evaluation.statistics import compare_paired

__all__ = ["Method", "write_model_report"]

Line = tuple[str, list[Row | None]]


@dataclass(frozen=True)
class Method:
    """What was measured of one way to make the pictures.

    Attributes:
        name: a scenario, or what needs no model.
        pairs, sources: what was compared, and the source of each pair.
        rows, values: see `measure_pairs`.
    """

    name: str
    pairs: Sequence[Pair]
    sources: Sequence[Path]
    rows: Sequence[Row]
    values: dict[str, np.ndarray]


def write_model_report(
    out: Path, settings: dict[str, Any], protocols: Sequence[str], methods: Sequence[Method], seconds: float
) -> str:
    """Write `summary.json`, `pairs.parquet` and `report.html`, each complete or not at all.

    Args:
        settings: what decides the numbers.
        methods: the first of them is what the others are compared with, pair by pair.
        seconds: of this run, without what an earlier one had made.

    Returns:
        The tables, Markdown.
    """
    lines = {protocol: _lines(protocol, methods) for protocol in protocols}
    notes = [
        f"{name}: {count:,} pairs left out, too few views" for name, count in settings["left_out"].items() if count
    ]
    notes += [settings["judges"]] if settings["judges"] else []
    notes += dict.fromkeys(note for method in methods for note in notes_of(method.pairs, method.rows))
    comparisons = [own for method in methods[1:] for own in _comparisons(method, methods[0])]
    notes += [
        f"{own['method']} against {own['against']}, {own['column']}: {own['difference']['mean']:+.4f}"
        f" [{own['difference']['low']:+.4f}, {own['difference']['high']:+.4f}], higher in {own['wins']:.0%} of"
        f" {own['pairs']:,} pairs"
        for own in comparisons
        if own["column"] == f"{protocols[0]}_ssim"
    ]
    summary = {
        "format": 1,
        "settings": settings,
        "protocols": list(protocols),
        "methods": {
            method.name: {
                "pairs": len(method.pairs),
                "rows": [asdict(row) for row in method.rows],
                "means_of_samples": {name: _finite_means(own) for name, own in method.values.items()},
            }
            for method in methods
        },
        "comparisons": comparisons,
        "notes": notes,
        "seconds": round(seconds, 1),
        "versions": library_versions(),
    }
    page = build_page(
        f"{settings['model']} on {Path(settings['data']).name}",
        f"{settings['steps']} steps, guidance {settings['guidance']:g}, {settings['seeds']} sample(s) per pair."
        f" {HOW_TO_READ}",
        notes,
        [html_table(_head(protocol, methods), lines[protocol], defined=False) for protocol in protocols],
        [
            strip
            for method in methods[2:]
            for strip in pictured_strips(method.pairs, method.values, protocols[0], method.sources, f"{method.name}: ")
        ],
        ", ".join(f"{name} {number}" for name, number in library_versions().items()) + ".",
    )
    tables = [
        pair_table(method.pairs, method.values).add_column(
            0, "method", pyarrow.array([method.name] * sum(len(pair.samples) for pair in method.pairs))
        )
        for method in methods
    ]
    table = pyarrow.concat_tables(tables, promote_options="default")
    replace_file(out / "pairs.parquet", lambda path: pyarrow.parquet.write_table(table, path))
    replace_file(out / "report.html", lambda path: path.write_text(page, encoding="utf-8"))
    replace_file(out / "summary.json", lambda path: path.write_text(json.dumps(summary, indent=1) + "\n"))
    return "\n\n".join(_markdown(_head(protocol, methods), lines[protocol]) for protocol in protocols)


def _columns(protocol: str, methods: Sequence[Method]) -> list[Metric]:
    """The measures that there are rows of, without those of real pictures, which have a line of their own."""
    measured = {row.key for method in methods for row in method.rows if row.protocol == protocol}
    return [own for own in METRICS[protocol] if own.key in measured and own.key not in REAL.values()]


def _head(protocol: str, methods: Sequence[Method]) -> list[str]:
    return [protocol, *(f"{own.name} {'↑' if own.higher else '↓'}" for own in _columns(protocol, methods))]


def _lines(protocol: str, methods: Sequence[Method]) -> list[Line]:
    """A line per method; the best of its samples in a line of its own; real pictures last."""
    lines: list[Line] = []
    keys = [metric.key for metric in _columns(protocol, methods)]
    for method in methods:
        rows = {(row.best_of, row.key): row for row in method.rows if row.protocol == protocol}
        for best_of in sorted({number for number, _ in rows}):
            title = method.name if best_of == 1 else f"{method.name}, best of {best_of} by SSIM"
            lines.append((title, [rows.get((best_of, key)) for key in keys]))
    real = {row.key: row for row in methods[0].rows if row.protocol == protocol}
    lines.append(("real test pictures", [real.get(REAL.get(key, "")) for key in keys]))
    return lines


def _markdown(head: Sequence[str], lines: Sequence[Line]) -> str:
    # What is absent is named without the instructions, which would fill the table.
    rows = [
        f"| {title} | " + " | ".join(cell_text(cell).partition(":")[0] for cell in cells) + " |"
        for title, cells in lines
    ]
    return "\n".join(["| " + " | ".join(head) + " |", "| --- " * len(head) + "|", *rows])


def _finite_means(values: np.ndarray) -> list[float | None]:
    """Mean over the pairs, of each sample; None where no pair has a value."""
    return [float(np.nanmean(own)) if np.isfinite(own).any() else None for own in values.T]


def _comparisons(method: Method, against: Method) -> list[dict[str, Any]]:
    """First samples against another method's, on the pairs that both have."""
    places = {pair.name: place for place, pair in enumerate(against.pairs)}
    shared = [(number, places[pair.name]) for number, pair in enumerate(method.pairs) if pair.name in places]
    own, others = map(list, zip(*shared, strict=True))
    found: list[dict[str, Any]] = []
    for column in method.values:
        if column.endswith("_real"):
            continue
        one, other = method.values[column][own, 0], against.values[column][others, 0]
        known = np.isfinite(one) & np.isfinite(other)
        if known.any():
            comparison = compare_paired(one[known], other[known])
            names = {"method": method.name, "against": against.name, "column": column, "pairs": int(known.sum())}
            found.append(names | asdict(comparison))
    return found
