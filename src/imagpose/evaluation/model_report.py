"""What `imagpose evaluate model` leaves behind: a line per method, a column per measure, each protocol on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from imagpose.evaluation.folders import ComparedPair
from imagpose.evaluation.measure import Measures
from imagpose.evaluation.report import (
    HOW_TO_READ,
    ReportPage,
    html_table,
    markdown_table,
    notes_of,
    pair_table,
    pictured_strips,
    write_report,
)
from imagpose.evaluation.rows import METRICS, REAL, Row, cell_text
from imagpose.metrics.statistics import compare_paired

Line = tuple[str, list[Row | None]]
_SAME_FOR_ALL = ("_real", "features_copy", "features_autoencoder")  # ends of columns that no method decides


@dataclass(frozen=True)
class Method:
    """What was measured of one way to make the pictures.

    Attributes:
        name: a scenario, or what needs no model.
        pairs: what was compared.
        measures: of the pairs.
        pictured: whether the page shows its best and worst pictures.
    """

    name: str
    pairs: Sequence[ComparedPair]
    measures: Measures
    pictured: bool


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
    tables = [
        table
        for protocol in protocols
        for of_person in (False, True)
        if len((table := _table(protocol, of_person, methods)).head) > 1
    ]
    comparisons = [own for method in methods[1:] for own in _comparisons(method, methods[0])]
    notes = _notes(settings, methods, [own for own in comparisons if own["column"] == f"{protocols[0]}_ssim"])
    summary = {
        "settings": settings,
        "protocols": list(protocols),
        "methods": {method.name: _summary(method) for method in methods},
        "comparisons": comparisons,
    }
    values = [
        pair_table(method.pairs, method.measures.values).add_column(
            0, "method", pyarrow.array([method.name] * sum(len(pair.samples) for pair in method.pairs))
        )
        for method in methods
    ]
    joined = pyarrow.concat_tables(values, promote_options="default")
    write_report(out, _page(settings, tables, methods, protocols[0]), joined, summary, notes, seconds)
    return "\n\n".join(markdown_table(table.head, [_texts(*line) for line in table.lines]) for table in tables)


def _notes(settings: dict[str, Any], methods: Sequence[Method], comparisons: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader should know, and those of the comparisons in words."""
    notes = [
        f"{name}: {count:,} pairs left out, too few views" for name, count in settings["left_out"].items() if count
    ]
    notes += [settings["judges"]] if settings["judges"] else []
    notes += dict.fromkeys(note for method in methods for note in notes_of(method.pairs, method.measures.rows))
    return notes + [
        f"{own['method']} against {own['against']}, {own['column']}: {own['difference']['mean']:+.4f}"
        f" [{own['difference']['low']:+.4f}, {own['difference']['high']:+.4f}], higher in {own['wins']:.0%} of"
        f" {own['pairs']:,} pairs"
        for own in comparisons
    ]


def _summary(method: Method) -> dict[str, Any]:
    return {
        "pairs": len(method.pairs),
        "rows": [asdict(row) for row in method.measures.rows],
        "styles": {style: [asdict(row) for row in rows] for style, rows in method.measures.styles.items()},
        "means_of_samples": {name: _finite_means(own) for name, own in method.measures.values.items()},
    }


def _page(settings: dict[str, Any], tables: Sequence[_Table], methods: Sequence[Method], protocol: str) -> ReportPage:
    """The page; the protocol's SSIM orders the pictured pairs."""
    return ReportPage(
        f"{settings['model']} on {Path(settings['data']).name}",
        f"{settings['sampling']}, {settings['seeds']} sample(s) per pair. {HOW_TO_READ}",
        [html_table(table.head, table.lines, defined=False) for table in tables],
        [
            strip
            for method in methods
            if method.pictured
            for strip in pictured_strips(method.pairs, method.measures.values, protocol, f"{method.name}: ")
        ],
    )


@dataclass(frozen=True)
class _Table:
    """Titles of the columns, the first of them the table's, and its lines."""

    head: list[str]
    lines: list[Line]


def _table(protocol: str, of_person: bool, methods: Sequence[Method]) -> _Table:
    """The measures of the person alone, or the others. There is a line per method.

    The best of a method's samples and each style have lines of their own; real pictures come last, where some judge or
    floor says what they get.
    """
    rows = [(method, row) for method in methods for row in method.measures.rows if row.protocol == protocol]
    measured = {row.key for _, row in rows}
    metrics = [own for own in METRICS[protocol] if own.key in measured and own.of_person == of_person]
    metrics = [own for own in metrics if own.key not in REAL.values()]  # which have a line of their own
    lines: list[Line] = []
    for method in methods:
        for best_of in sorted({row.best_of for own, row in rows if own is method}):
            found = {row.key: row for own, row in rows if own is method and row.best_of == best_of}
            title = method.name if best_of == 1 else f"{method.name}, best of {best_of} by SSIM"
            lines.append((title, [found.get(metric.key) for metric in metrics]))
        for style, own_rows in method.measures.styles.items():
            found = {row.key: row for row in own_rows if row.protocol == protocol}
            lines.append((f"{method.name}, {style}", [found.get(metric.key) for metric in metrics]))
    real = {row.key: row for method, row in rows if method is methods[0]}
    cells = [real.get(REAL.get(metric.key, "")) for metric in metrics]
    if any(cells):
        lines.append(("real test pictures", cells))
    title = f"{protocol}, the person alone" if of_person else protocol
    return _Table([title, *(f"{own.name} {'↑' if own.higher else '↓'}" for own in metrics)], lines)


def _texts(title: str, cells: Sequence[Row | None]) -> list[str]:
    # What is absent is named without the instructions, which would fill the table.
    return [title, *(cell_text(cell).partition(":")[0] for cell in cells)]


def _finite_means(values: np.ndarray) -> list[float | None]:
    """Mean over the pairs, of each sample; None where no pair has a value."""
    return [float(np.nanmean(own)) if np.isfinite(own).any() else None for own in values.T]


def _comparisons(method: Method, against: Method) -> list[dict[str, Any]]:
    """First samples against another method's, on the pairs that both have."""
    places = {pair.name: place for place, pair in enumerate(against.pairs)}
    shared = [(number, places[pair.name]) for number, pair in enumerate(method.pairs) if pair.name in places]
    own, others = map(list, zip(*shared, strict=True))
    found: list[dict[str, Any]] = []
    people = np.array([method.pairs[number].person for number in own])
    for column in method.measures.values:
        if column.endswith(_SAME_FOR_ALL):
            continue
        one, other = method.measures.values[column][own, 0], against.measures.values[column][others, 0]
        known = np.isfinite(one) & np.isfinite(other)
        if known.any():
            comparison = compare_paired(one[known], other[known], people=people[known])
            names = {"method": method.name, "against": against.name, "column": column, "pairs": int(known.sum())}
            found.append(names | asdict(comparison))
    return found
