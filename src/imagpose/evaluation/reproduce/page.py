"""A result page: what was asked, the table, whether the order holds, the plot, the command. Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from imagpose.data.info import DatasetInfo
from imagpose.evaluation.images_report import library_versions
from imagpose.evaluation.reproduce.claims import Claim, claim_table
from imagpose.evaluation.reproduce.measured import Measured, absent_metrics, result_table, value_text
from imagpose.evaluation.reproduce.published import PublishedRow, data_name
from imagpose.io import write_text
from imagpose.metrics.statistics import FEWEST_PEOPLE

__all__ = ["ResultPage", "machine_text", "markdown", "write_page"]


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
        command: that makes the page again.
    """

    item: str
    title: str
    question: str
    setting: Sequence[str]
    lines: Sequence[Measured]
    claims: Sequence[Claim]
    published: Sequence[PublishedRow]
    command: str


def write_page(out: Path, page: ResultPage, info: DatasetInfo) -> str:
    """Write `<item>.md` into the folder `out`, where the plot `<item>.png` lies.

    Returns:
        The table alone, Markdown.
    """
    table = markdown(result_table(page.lines))
    parts = [f"# {page.title}", page.question, "## Measured here", " ".join([_data_text(info), *page.setting]), table]
    if absent := absent_metrics(page.lines):
        parts.append(f"Not measured: {'; '.join(absent)}.")
    if page.published:
        rows = [
            [own.method, value_text(own.ssim), value_text(own.lpips), value_text(own.fid)] for own in page.published
        ]
        parts += ["The paper's rows, by its own evaluation (compare with the field protocol):"]
        parts += [markdown([["", "SSIM ↑", "LPIPS ↓", "FID ↓"], *rows])]
    elif info.settings.get("command") in ("deepfashion", "market1501"):
        parts.append("The paper's numbers of this item are printed as a picture and are not repeated here.")
    else:
        parts.append("The paper's photographs are other data: its numbers do not compare with these.")
    parts.append(f"![{page.title}]({page.item}.png)")
    if page.claims:
        parts += [
            "## Does the order hold?",
            "Mean difference over the same pairs between two one-sided bounds of 97.5 % (bootstrap over people, the pairs"
            " of one drawn together, percentiles widened for few people). *Better* holds where all of it is better;"
            " it does not hold where all of it is worse, or 0 is possible and nothing beyond the margin is. *Alike* holds"
            " where both bounds lie within the margin; it does not hold where all lies beyond. All else is not decided,"
            f" as with fewer than {FEWEST_PEOPLE} people.",
            markdown(claim_table(page.claims, {line.name: line for line in page.lines})),
        ]
    dtypes = list(dict.fromkeys(line.dtype for line in page.lines if line.dtype))
    drawn = [f"pictures generated in {', '.join(dtypes)}"] if dtypes else []
    versions = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    parts += ["## Command", f"    {page.command}", f"{'; '.join([machine_text(), *drawn, versions])}."]
    text = "\n\n".join(parts) + "\n"
    write_text(out / f"{page.item}.md", text)
    return table


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Head and lines as a Markdown table; numbers to the right."""
    head, *body = table
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine_text() -> str:
    """The machine and the threads that numbers were made with."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    return f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, Python {platform.python_version()}"


def _data_text(info: DatasetInfo) -> str:
    splits: Mapping[str, str] = {
        name: f"{split.pictures:,} pictures of {split.identities:,} people" for name, split in info.splits.items()
    }
    return f"Data: {data_name(info)} ({', '.join(f'{name} {text}' for name, text in splits.items())})."
