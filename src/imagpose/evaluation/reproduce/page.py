"""A result page: what was asked, the table, the paper's rows, whether the order holds, the plot, the command. Markdown."""

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
from imagpose.evaluation.reproduce.published import published_rows, stored_as
from imagpose.io import write_text
from imagpose.metrics.statistics import FEWEST_PEOPLE

__all__ = ["ResultPage", "write_page"]

_RIGHT = "---:"  # numbers stand to the right


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
        command: that makes the page again; `Measuring.write` knows it.
    """

    item: str
    title: str
    question: str
    setting: Sequence[str]
    lines: Sequence[Measured]
    claims: Sequence[Claim]
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


def _data_name(info: DatasetInfo) -> str:
    """What a data set is, and its pictures' size."""
    kind, height, width = stored_as(info)
    return f"{_NAMES.get(kind, kind)}, {f'{height}x{width}' if height else 'as stored'}"
