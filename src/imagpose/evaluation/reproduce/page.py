"""A result page: what was asked, the table, the paper's rows, whether the order holds, the plot, the command. Markdown.

The paper's numbers are those of Table 1 and Section 4, which are to be had as text. The numbers of Tables 2, 3 and 7 and of
Figure 8 are printed as pictures only and are not repeated here.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from imagpose.data.info import DatasetInfo
from imagpose.evaluation.report import markdown_table, versions_text
from imagpose.evaluation.reproduce.claims import Claim, claim_table
from imagpose.evaluation.reproduce.measured import Measured, absent_metrics, result_table, value_text
from imagpose.io import write_text
from imagpose.metrics.statistics import FEWEST_PEOPLE

__all__ = ["PublishedRow", "ResultPage", "published_table_1", "published_three_sources", "write_page"]

_RIGHT = "---:"  # numbers stand to the right


@dataclass(frozen=True)
class PublishedRow:
    """SSIM (higher is better), LPIPS and FID (lower is better) of a method, by the paper's own evaluation."""

    method: str
    ssim: float
    lpips: float
    fid: float


_TABLE_1 = {
    ("deepfashion", 256, 176): (
        PublishedRow("PIDM", 0.7312, 0.1678, 6.3671),
        PublishedRow("PoCoLD", 0.7310, 0.1642, 8.0667),
        PublishedRow("CFLD", 0.7378, 0.1519, 6.8040),
        PublishedRow("PCDMs", 0.7444, 0.1365, 7.4734),
        PublishedRow("IMAGPose", 0.7561, 0.1284, 5.8738),
    ),
    ("deepfashion", 512, 352): (
        PublishedRow("PIDM", 0.7419, 0.1768, 5.8365),
        PublishedRow("PoCoLD", 0.7430, 0.1920, 8.4163),
        PublishedRow("CFLD", 0.7478, 0.1819, 7.1490),
        PublishedRow("PCDMs", 0.7601, 0.1475, 7.5519),
        PublishedRow("IMAGPose", 0.7718, 0.1396, 5.6298),
    ),
    ("market1501", 128, 64): (
        PublishedRow("PIDM", 0.3054, 0.2415, 14.451),
        PublishedRow("PCDMs", 0.3169, 0.2238, 13.897),
        PublishedRow("IMAGPose", 0.3282, 0.2104, 12.659),
    ),
}
_THREE_SOURCES = {("deepfashion", 256, 176): (PublishedRow("IMAGPose, T3", 0.7727, 0.1172, 5.3286),)}
_NAMES = {
    "deepfashion": "DeepFashion",
    "market1501": "Market-1501",
    "people": "rendered people",
    "folder": "own pictures",
}


@dataclass(frozen=True)
class ResultPage:
    """What a page says.

    Attributes:
        item: "table2", the name of the files.
        title: of the page.
        question: what the paper shows there, and what is expected here.
        setting: how it was measured here, one sentence each.
        lines: of the table.
        claims: what is expected of them.
        published: the paper's rows for this data set, none where it has none.
        command: that makes the page again; `Measuring.write` knows it.
    """

    item: str
    title: str
    question: str
    setting: Sequence[str]
    lines: Sequence[Measured]
    claims: Sequence[Claim]
    published: Sequence[PublishedRow] = ()
    command: str = ""


def write_page(out: Path, page: ResultPage, info: DatasetInfo) -> str:
    """Write `<item>.md` into the folder `out`, where the plot `<item>.png` lies.

    Returns:
        The table alone, Markdown.
    """
    head, *lines = result_table(page.lines)
    table = markdown_table(head, lines, _RIGHT)
    parts = [f"# {page.title}", page.question, "## Measured here", " ".join([_data_text(info), *page.setting]), table]
    if absent := absent_metrics(page.lines):
        parts.append(f"Not measured: {'; '.join(absent)}.")
    if page.published:
        rows = [
            [own.method, value_text(own.ssim), value_text(own.lpips), value_text(own.fid)] for own in page.published
        ]
        parts += ["The paper's rows, by its own evaluation (compare with the field protocol):"]
        parts += [markdown_table(["", "SSIM ↑", "LPIPS ↓", "FID ↓"], rows, _RIGHT)]
    elif info.settings.get("command") in ("deepfashion", "market1501"):
        parts.append("The paper prints its numbers for this item as a picture. They are not repeated here.")
    else:
        parts.append("The paper used photographs, so its numbers do not compare with these.")
    parts.append(f"![{page.title}]({page.item}.png)")
    if page.claims:
        head, *lines = claim_table(page.claims, {line.name: line for line in page.lines})
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
    parts += ["## Command", f"    {page.command}", f"{'; '.join([_machine_text(), *drawn, versions_text()])}."]
    text = "\n\n".join(parts) + "\n"
    write_text(out / f"{page.item}.md", text)
    return table


def _machine_text() -> str:
    """The machine and the threads that numbers were made with."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    return f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, Python {platform.python_version()}"


def _data_text(info: DatasetInfo) -> str:
    splits: Mapping[str, str] = {
        name: f"{split.pictures:,} pictures of {split.identities:,} people" for name, split in info.splits.items()
    }
    return f"Data: {_data_name(info)} ({', '.join(f'{name} {text}' for name, text in splits.items())})."


def published_table_1(info: DatasetInfo) -> tuple[PublishedRow, ...]:
    """The rows of Table 1 for a data set; none where the paper did not measure on it."""
    return _TABLE_1.get(_key(info), ())


def published_three_sources(info: DatasetInfo) -> tuple[PublishedRow, ...]:
    """The row of several different sources (T3) for a data set; none where the paper did not measure on it."""
    return _THREE_SOURCES.get(_key(info), ())


def _data_name(info: DatasetInfo) -> str:
    """What a data set is, and its pictures' size."""
    kind, height, width = _key(info)
    return f"{_NAMES.get(kind, kind)}, {f'{height}x{width}' if height else 'as stored'}"


def _key(info: DatasetInfo) -> tuple[str, int, int]:
    height, width = info.settings.get("size") or (0, 0)
    return str(info.settings.get("command")), int(height), int(width)
