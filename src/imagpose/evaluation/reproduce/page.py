"""A result page: what was asked, the table, the paper's rows, whether the order holds, the plot, the command. Markdown.

The plots need the extra `plots` (matplotlib).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from imagpose.data.info import DatasetInfo
from imagpose.devices import choose_device
from imagpose.evaluation.report import markdown_table, versions_text
from imagpose.evaluation.reproduce.claims import Claim, claim_table, find_claims
from imagpose.evaluation.reproduce.measured import Measured, absent_metrics, result_table, shown_metrics, value_text
from imagpose.evaluation.reproduce.published import published_rows, stored_as
from imagpose.evaluation.rows import Metric
from imagpose.io import write_json, write_text
from imagpose.metrics.statistics import FEWEST_PEOPLE

_RIGHT = "---:"  # numbers stand to the right
_COLOUR = "#3b6ea5"
_MOST = 6
_LEAST_SPAN = 0.02  # of SSIM


_NAMES = {
    "deepfashion": "DeepFashion",
    "market1501": "Market-1501",
    "people": "rendered people",
    "folder": "own pictures",
}


@dataclass(frozen=True)
class Page:
    """What every page says.

    Attributes:
        item: "table2", the name of the files.
        title: of the page.
        question: what the paper shows there, and what is expected here.
        setting: how it was measured or drawn here, one sentence each.
    """

    item: str
    title: str
    question: str
    setting: Sequence[str]


@dataclass(frozen=True)
class ResultPage(Page):
    """A page that measures: the lines of its table, and what is expected of them."""

    lines: Sequence[Measured]
    claims: Sequence[Claim]


@dataclass(frozen=True, eq=False)
class PicturePage(Page):
    """A page that shows a picture."""

    picture: Image.Image


def write_picture_page(out: Path, page: PicturePage, info: DatasetInfo, command: str) -> None:
    """Write `<item>.md` and `<item>.png` into the folder `out`; `command` makes the page again."""
    page.picture.save(out / f"{page.item}.png")
    parts = [f"# {page.title}", page.question, " ".join([data_text(info), *page.setting])]
    parts += [f"![{page.title}]({page.item}.png)", "## Command", f"    {command}"]
    write_text(out / f"{page.item}.md", "\n\n".join([*parts, made_text()]) + "\n")


def write_page(out: Path, page: ResultPage, info: DatasetInfo, command: str) -> str:
    """Write `<item>.md`, and its verdicts as `<item>.json`, into the folder `out`, where the plot `<item>.png` lies.

    `command` makes the page again.

    Returns:
        The table alone, Markdown.
    """
    head, *lines = result_table(page.lines)
    table = markdown_table(head, lines, _RIGHT)
    parts = [f"# {page.title}", page.question, "## Measured here", " ".join([data_text(info), *page.setting]), table]
    if absent := absent_metrics(page.lines):
        parts.append(f"Not measured: {'; '.join(absent)}.")
    if published := published_rows(page.item, info):
        rows = [[own.method, value_text(own.ssim), value_text(own.lpips), value_text(own.fid)] for own in published]
        parts += ["The paper's rows, by its own evaluation (compare with the field protocol):"]
        parts += [markdown_table(["", "SSIM ↑", "LPIPS ↓", "FID ↓"], rows, _RIGHT)]
    elif info.settings.get("command") in ("deepfashion", "market1501"):
        parts.append("The paper prints no numbers of this item for these pictures.")
    else:
        parts.append("The paper used photographs, so its numbers do not compare with these.")
    parts.append(f"![{page.title}]({page.item}.png)")
    if page.claims:
        findings = find_claims(page.claims, {line.name: line for line in page.lines})
        write_json(out / f"{page.item}.json", {"title": page.title, "findings": [own.stored() for own in findings]})
        head, *lines = claim_table(findings)
        parts += [
            "## Does the order hold?",
            "Mean difference over the same pairs, between two one-sided bounds of 97.5 % (bootstrap over people: the pairs"
            " of one person are drawn together, and the percentiles are widened for small numbers of people). *Better*"
            " holds if both bounds are better. It does not hold if both are worse, or if 0 lies between them and both are"
            " within the margin. *Alike* holds if both bounds are within the margin. It does not hold if both are beyond it"
            f" on the same side. Anything else is not decided, and neither is anything with fewer than {FEWEST_PEOPLE}"
            " people.",
            markdown_table(head, lines, _RIGHT),
        ]
    dtypes = list(dict.fromkeys(line.dtype for line in page.lines if line.dtype))
    drawn = [f"pictures generated in {', '.join(dtypes)}"] if dtypes else []
    parts += ["## Command", f"    {command}", made_text(*drawn)]
    text = "\n\n".join(parts) + "\n"
    write_text(out / f"{page.item}.md", text)
    return table


def made_text(*facts: str) -> str:
    """When, on what machine and with which versions a page was made; `facts` stand between."""
    return f"{date.today().isoformat()}; {'; '.join([_machine_text(), *facts, versions_text()])}."


def _machine_text() -> str:
    """The machine and the threads that numbers were made with."""
    device = torch.cuda.get_device_name() if choose_device() == "cuda" else f"{platform.machine()} CPU"
    return f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, Python {platform.python_version()}"


def data_text(info: DatasetInfo) -> str:
    """A sentence about a data set: its kind, the size of its views, its pictures and people."""
    splits: Mapping[str, str] = {
        name: f"{split.pictures:,} pictures of {split.identities:,} people" for name, split in info.splits.items()
    }
    return f"Data: {_data_name(info)} ({', '.join(f'{name} {text}' for name, text in splits.items())})."


def _data_name(info: DatasetInfo) -> str:
    """What a data set is, and its pictures' size."""
    kind, height, width = stored_as(info)
    return f"{_NAMES.get(kind, kind)}, {f'{height}x{width}' if height else 'as stored'}"


def check_matplotlib() -> None:
    """Sees that plots can be drawn, before hours are spent on what they show.

    Raises:
        ValueError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ValueError("the plots need matplotlib: pip install 'imagpose[plots]'")


def draw_lines(path: Path, title: str, lines: Sequence[Measured]) -> None:
    """A panel per measure: the mean of each line of the table and its 95 % interval."""
    metrics = shown_metrics(lines)[:_MOST]
    figure, panels = _figure(len(metrics), len(lines))
    for panel, (protocol, metric) in zip(panels, metrics, strict=True):
        _points(panel, protocol, metric, lines)
    figure.suptitle(title)
    figure.savefig(path, format="png")


def _points(panel: Any, protocol: str, metric: Metric, lines: Sequence[Measured]) -> None:
    points: list[tuple[str, float, float, float]] = []
    for line in lines:
        row = line.rows.get((protocol, metric.key))
        if row is not None and row.value is not None:
            low, high = (row.value if end is None else end for end in (row.low, row.high))
            points.append((line.name, low, row.value, high))
    for place, (_, low, value, high) in enumerate(
        points
    ):  # of one person's pairs the bounds are the mean, rounded otherwise
        panel.errorbar(
            value, place, xerr=[[max(0.0, value - low)], [max(0.0, high - value)]], fmt="o", color=_COLOUR, capsize=3
        )
    ends = [end for _, low, _, high in points for end in (low, high)]
    margin = (max(ends) - min(ends)) * 0.15 or abs(max(ends)) * 0.1 or 1.0
    panel.set_xlim(min(ends) - margin, max(ends) + margin)
    panel.set_yticks(range(len(points)), [name for name, *_ in points])
    panel.invert_yaxis()
    panel.set_title(f"{metric.name}, {protocol} ({'higher' if metric.higher else 'lower'} is better)", fontsize=9)


def draw_speed(path: Path, points: Sequence[tuple[str, str, float, float]]) -> None:
    """Figure 8: seconds against SSIM.

    Args:
        points: (series, label, seconds per distinct picture, SSIM), those of a series in the order of their line.
    """
    from matplotlib.ticker import LogLocator

    figure, (panel,) = _figure(1, 8)
    for series in dict.fromkeys(own for own, *_ in points):
        own = [(label, seconds, ssim) for name, label, seconds, ssim in points if name == series]
        panel.plot([seconds for _, seconds, _ in own], [ssim for *_, ssim in own], marker="o", label=series)
        for label, seconds, ssim in own:
            panel.annotate(
                f"{label} steps", (seconds, ssim), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8
            )
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
    panel.margins(0.12)
    low, high = panel.get_ylim()
    missing = max(0.0, _LEAST_SPAN - (high - low)) / 2  # small differences are to look small
    panel.set_ylim(low - missing, high + missing)
    panel.set_xlabel("seconds per distinct picture (logarithmic)")
    panel.set_ylabel("SSIM, clean")
    panel.legend()
    figure.suptitle("Figure 8")
    figure.savefig(path, format="png")


def _figure(panels: int, lines: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(panels, 2)
    rows = -(-panels // columns)
    figure = Figure(figsize=(5.2 * columns, (0.9 + 0.32 * lines) * rows), layout="constrained", dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for empty in axes[panels:]:
        empty.set_axis_off()
    return figure, axes[:panels]
