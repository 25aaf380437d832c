"""What the reports of evaluation share: tables of pairs, notes, pictured pairs, and an HTML page in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from imagpose.evaluation.folders import ComparedPair
from imagpose.evaluation.rows import METRICS, Metric, Row, cell_text
from imagpose.io import write_json, write_text
from imagpose.outputs import check_free_space, check_new_files, check_output_folder, check_unclaimed, staged_folder
from imagpose.pictures import data_address, load_picture
from imagpose.version import __version__

HOW_TO_READ = (
    "Means with their 95 % bootstrap interval, over people where they are known, else over pairs; n is the number of"
    " pictures counted. Only numbers of one protocol compare with each other."
)

_PACKAGES = ("numpy", "scipy", "scikit-image", "Pillow", "torch", "torchvision", "lpips", "torch-fidelity")
_SHOWN = 6  # pairs pictured of each kind
_FEATURES = 2048  # of Inception
_HEIGHT = 256  # pixels at which pictures are shown at most
_REPORT_BYTES = 10_000_000  # of a report with some dozen pictures of this height, and of values

STYLE = """
:root { --ground: #f7f6f3; --card: #ffffff; --ink: #24262b; --soft: #6b6f78; --line: #e2e0da; --mark: #c2551f;
  color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ground: #17181b; --card: #212327; --ink: #ecebe7; --soft: #a0a3ab;
  --line: #34373d; --mark: #e9905f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 16px 64px; }
h1 { margin: 0; font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; letter-spacing: -0.02em;
  overflow-wrap: anywhere; }
h2 { margin: 40px 0 12px; font-size: 1.2rem; }
p { margin: 8px 0 0; max-width: 76ch; overflow-wrap: anywhere; }
.soft, .needs, footer { color: var(--soft); }
.frame { margin-top: 24px; overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 9px 14px; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; font-size: 0.85rem; color: var(--soft); }
tbody th { font-weight: 600; }
td { font-variant-numeric: tabular-nums; min-width: 10rem; }
td small { display: block; color: var(--soft); }
.needs { font-size: 0.88rem; overflow-wrap: anywhere; }
li { max-width: 76ch; }
.strip { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
figure { margin: 0; padding: 10px; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.row { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 8px; text-align: center; }
.row span { font-size: 0.78rem; color: var(--soft); }
.row div:last-child span { color: var(--mark); }
img { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { margin-top: 8px; font-size: 0.82rem; overflow-wrap: anywhere; }
figcaption small { display: block; color: var(--soft); font-size: 0.78rem; }
footer { margin-top: 48px; font-size: 0.85rem; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Figure:
    """What is pictured side by side: captions with files, the last of them marked, and values by column."""

    name: str
    pictures: Sequence[tuple[str, Path]]
    values: dict[str, float]


@dataclass(frozen=True)
class Strip:
    """Figures under one title."""

    title: str
    figures: Sequence[Figure]


@dataclass(frozen=True)
class ReportPage:
    """What a report's page shows.

    Attributes:
        title, introduction: texts at its head.
        tables: HTML, see `html_table`.
        strips: below them; their files are read when the page is written.
        origin: what was compared, at the foot.
    """

    title: str
    introduction: str
    tables: Sequence[str]
    strips: Sequence[Strip]
    origin: str = ""


def _html(page: ReportPage, notes: Sequence[str]) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(page.title)}</h1>
<p>{escape(page.introduction)}</p>
<ul class="soft">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>
{"".join(f'<div class="frame">{table}</div>' for table in page.tables)}
{"".join(map(_strip, page.strips))}
<footer>{escape(f"{page.origin}{versions_text()}.")}</footer>
</main>
</body>
</html>
"""


def html_table(head: Sequence[str], lines: Sequence[tuple[str, Sequence[Row | None]]], defined: bool) -> str:
    """A table of rows' values.

    Args:
        head: titles of the columns.
        lines: title and cells of each line.
        defined: whether each cell says how its value is defined.
    """
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "".join(
        f'<tr><th scope="row">{escape(title)}</th>{"".join(_cell(cell, defined) for cell in cells)}</tr>'
        for title, cells in lines
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]], rule: str = "---") -> str:
    """A Markdown table of texts; `rule` aligns all columns but the first."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---", *[rule] * (len(head) - 1)], *lines))


def _cell(row: Row | None, defined: bool) -> str:
    if row is None:
        return "<td></td>"
    shown = f'<span class="needs">{escape(cell_text(row))}</span>' if row.value is None else escape(cell_text(row))
    return f"<td>{shown}{f'<small>{escape(row.definition)}</small>' if defined else ''}</td>"


def _strip(strip: Strip) -> str:
    figures = "".join(map(_figure, strip.figures))
    return f'<h2>{escape(strip.title)}</h2>\n<div class="strip">{figures}</div>'


def _figure(figure: Figure) -> str:
    lines = []
    for protocol, metrics in METRICS.items():
        own = [(metric, _of_figure(figure, protocol, metric)) for metric in metrics]
        text = " · ".join(_value(metric, value) for metric, value in own if not np.isnan(value))
        lines.append(f"<small>{escape(protocol)}: {escape(text)}</small>" if text else "")
    pictures = "".join(
        f"<div>{_picture(path, f'{caption} {figure.name}')}<span>{escape(caption)}</span></div>"
        for caption, path in figure.pictures
    )
    return (
        f'<figure><div class="row">{pictures}</div>'
        f"<figcaption>{escape(figure.name)}{''.join(lines)}</figcaption></figure>"
    )


def _of_figure(figure: Figure, protocol: str, metric: Metric) -> float:
    """The value of one picture; NaN where it has none."""
    top, bottom = (figure.values.get(f"{protocol}_{key}", np.nan) for key in metric.ratio or (metric.key, ""))
    if metric.ratio is None:
        return top
    return top / bottom if bottom else np.nan


def _value(metric: Metric, value: float) -> str:
    name = metric.name.removesuffix(", dB")
    return f"{name} {value:.3f}" if name == metric.name else f"{name} {value:.2f} dB"


def _picture(path: Path, text: str) -> str:
    picture = load_picture(path)
    if picture.height > _HEIGHT:
        width = max(1, round(picture.width * _HEIGHT / picture.height))
        picture = picture.resize((width, _HEIGHT), Image.Resampling.LANCZOS)
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="{data_address(picture, "PNG", optimize=True)}" {size} alt="{escape(text)}">'


def pair_table(pairs: Sequence[ComparedPair], values: dict[str, np.ndarray]) -> pyarrow.Table:
    """One row per generated picture."""
    samples = [(pair, number, file) for pair in pairs for number, file in enumerate(pair.samples)]
    columns: dict[str, Any] = {
        "name": [pair.name for pair, _, _ in samples],
        "person": pyarrow.array([pair.person for pair, _, _ in samples], pyarrow.string()),
        "sample": pyarrow.array([number for _, number, _ in samples], pyarrow.int32()),
        "generated": [str(file) for _, _, file in samples],
        "reference": [str(pair.reference) for pair, _, _ in samples],
        "mask": pyarrow.array([pair.mask and str(pair.mask) for pair, _, _ in samples], pyarrow.string()),
    }
    for name, own in values.items():
        columns[name] = pyarrow.array(own.ravel(), pyarrow.float64(), mask=np.isnan(own.ravel()))
    return pyarrow.table(columns)


def pictured_strips(
    pairs: Sequence[ComparedPair],
    values: dict[str, np.ndarray],
    protocol: str,
    prefix: str = "",
) -> list[Strip]:
    """The worst, the median and the best pairs by the SSIM of one protocol, first samples only.

    Args:
        values: as `Measures.values`.
        prefix: of the titles.
    """
    order = values[f"{protocol}_ssim"][:, 0].argsort(kind="stable")
    shown = min(_SHOWN, -(-len(order) // 3))
    middle = (len(order) - shown) // 2
    chosen = {"Worst": order[:shown], "Median": order[middle : middle + shown], "Best": order[::-1][:shown]}

    def figure(number: int) -> Figure:
        pair = pairs[number]
        source = [("source", pair.source)] if pair.source else []
        pictures = [*source, ("reference", pair.reference), ("generated", pair.samples[0])]
        return Figure(pair.name, pictures, {name: float(own[number, 0]) for name, own in values.items()})

    return [
        Strip(f"{prefix}{title} by SSIM, {protocol}", [figure(number) for number in numbers.tolist()])
        for title, numbers in chosen.items()
    ]


def notes_of(pairs: Sequence[ComparedPair], rows: Sequence[Row]) -> list[str]:
    """What a reader of the numbers should know."""
    notes = []
    samples = len(pairs[0].samples)
    if samples > 1:
        notes.append(
            f"Every reference has {samples} samples. Rows count the first (_0); rows named best of {samples} take the"
            " sample with the highest SSIM against the reference, which no user can do."
        )
    lossy = sum(pair.reference.suffix.lower() in (".jpg", ".jpeg") for pair in pairs)
    lossy_generated = sum(file.suffix.lower() in (".jpg", ".jpeg") for pair in pairs for file in pair.samples)
    if lossy or lossy_generated:
        notes.append(
            f"{lossy} references and {lossy_generated} generated pictures are JPEG: the compression counts as error."
            " Compare PNG files."
        )
    counts = [row.count for row in rows if row.key.startswith("fid") and row.value is not None]
    if counts and min(counts) <= _FEATURES:
        notes.append(
            f"FID of {min(counts):,} pictures: no more than its {_FEATURES:,} features. It is biased upwards; compare"
            " it with FID of equally many pictures only."
        )
    return notes


def check_report_folder(out: Path) -> None:
    """Look at the folder of an evaluation, and at its disk, before any time is spent.

    Raises:
        ValueError: nothing can be written there, or it holds files of a report, pictures or values that no evaluation wrote.
        OSError: the disk has no room for a report.
    """
    check_output_folder(out)
    check_new_files(out, ("summary.json", "pairs.parquet", "report.html"), overwrite=True)
    check_unclaimed(out, ("pictures", "parts"))
    check_free_space(out, _REPORT_BYTES)


def write_report(
    out: Path, page: ReportPage, table: pyarrow.Table, summary: dict[str, Any], notes: Sequence[str], seconds: float
) -> None:
    """Write `summary.json`, `pairs.parquet` and `report.html` into a folder, all of them or none.

    Args:
        table: see `pair_table`.
        summary: what `summary.json` holds beside notes, seconds and versions.
        notes: what a reader should know.
        seconds: of this run, without what an earlier one had made.
    """
    whole = {"format": 1, **summary, "notes": notes, "seconds": round(seconds, 1), "versions": library_versions()}
    with staged_folder(out, overwrite=True) as stage:
        pyarrow.parquet.write_table(table, stage / "pairs.parquet")
        write_text(stage / "report.html", _html(page, notes))
        write_json(stage / "summary.json", whole)


def library_versions() -> dict[str, str]:
    """Versions of what decides the numbers, as far as it is installed."""
    found = {"imagpose": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def versions_text() -> str:
    """`library_versions` as a list for a reader."""
    return ", ".join(f"{name} {number}" for name, number in library_versions().items())
