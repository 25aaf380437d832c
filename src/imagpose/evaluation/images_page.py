"""The HTML report of a folder of generated pictures: one self-contained file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagpose.evaluation.folders import Pair
from imagpose.evaluation.image_rows import METRICS, Metric, Row, cell_text, side_by_side
from imagpose.pictures import load_picture

__all__ = ["Strip", "build_page"]

_HEIGHT = 256  # pixels at which pictures are shown at most

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
td { font-variant-numeric: tabular-nums; min-width: 12rem; }
td small { display: block; color: var(--soft); }
.needs { font-size: 0.88rem; overflow-wrap: anywhere; }
li { max-width: 76ch; }
.strip { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
figure { margin: 0; padding: 10px; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.two span { font-size: 0.78rem; color: var(--soft); text-align: center; }
.two span + span { color: var(--mark); }
img { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { margin-top: 8px; font-size: 0.82rem; overflow-wrap: anywhere; }
figcaption small { display: block; color: var(--soft); font-size: 0.78rem; }
footer { margin-top: 48px; font-size: 0.85rem; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Strip:
    """Pairs that are pictured under one title, with the values of their columns."""

    title: str
    pairs: Sequence[tuple[Pair, dict[str, float]]]


def build_page(summary: dict[str, Any], rows: Sequence[Row], strips: Sequence[Strip]) -> str:
    """The page's HTML.

    Args:
        summary: what `summary.json` holds.
        rows: the table.
        strips: pictured pairs; their files are read here.
    """
    protocols = summary["protocols"]
    folders = summary["folders"]
    versions = ", ".join(f"{name} {number}" for name, number in summary["versions"].items())
    notes = "".join(f"<li>{escape(note)}</li>" for note in summary["notes"])
    pictured = "".join(_strip(strip, protocols[0]) for strip in strips)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(Path(folders["generated"]).name)} against {escape(Path(folders["reference"]).name)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(Path(folders["generated"]).name)} against {escape(Path(folders["reference"]).name)}</h1>
<p>{summary["pairs"]:,} pairs of pictures. Means with their 95 % bootstrap interval over pairs; n is the number of
pictures counted. Only numbers of one protocol compare with each other.</p>
<ul class="soft">{notes}</ul>
<div class="frame">{_table(rows, protocols)}</div>
{pictured}
<footer>{escape("; ".join(f"{role}: {folder}" for role, folder in folders.items()))}. {escape(versions)}.</footer>
</main>
</body>
</html>
"""


def _table(rows: Sequence[Row], protocols: Sequence[str]) -> str:
    lines = [
        f'<tr><th scope="row">{escape(name)}</th>{"".join(map(_cell, cells))}</tr>'
        for name, cells in side_by_side(rows, protocols)
    ]
    head = "".join(f'<th scope="col">{escape(protocol)}</th>' for protocol in protocols)
    return f'<table><thead><tr><th scope="col">metric</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _cell(row: Row | None) -> str:
    if row is None:
        return "<td></td>"
    shown = f'<span class="needs">{escape(cell_text(row))}</span>' if row.value is None else escape(cell_text(row))
    return f"<td>{shown}<small>{escape(row.definition)}</small></td>"


def _strip(strip: Strip, protocol: str) -> str:
    figures = "".join(_figure(pair, values) for pair, values in strip.pairs)
    return f'<h2>{escape(strip.title)} by SSIM, {escape(protocol)}</h2>\n<div class="strip">{figures}</div>'


def _figure(pair: Pair, values: dict[str, float]) -> str:
    lines = []
    for protocol, metrics in METRICS.items():
        own = [(metric, values.get(f"{protocol}_{metric.key}", np.nan)) for metric in metrics]
        text = " · ".join(_value(metric, value) for metric, value in own if not np.isnan(value))
        lines.append(f"<small>{escape(protocol)}: {escape(text)}</small>" if text else "")
    return (
        f'<figure><div class="two">{_picture(pair.reference, f"reference {pair.name}")}'
        f"{_picture(pair.samples[0], f'generated {pair.name}')}<span>reference</span><span>generated</span></div>"
        f"<figcaption>{escape(pair.name)}{''.join(lines)}</figcaption></figure>"
    )


def _value(metric: Metric, value: float) -> str:
    name = metric.name.removesuffix(", dB")
    return f"{name} {value:.3f}" if name == metric.name else f"{name} {value:.2f} dB"


def _picture(path: Path, text: str) -> str:
    picture = load_picture(path)
    if picture.height > _HEIGHT:
        width = max(1, round(picture.width * _HEIGHT / picture.height))
        picture = picture.resize((width, _HEIGHT), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="data:image/png;base64,{data}" {size} alt="{escape(text)}">'
