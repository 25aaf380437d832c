"""The page of Table 4: rank-1 and mAP per share of real pictures, what generated pictures bring, and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagpose.evaluation.report import markdown_table
from imagpose.evaluation.reproduce.page import made_text
from imagpose.io import write_text
from imagpose.metrics.statistics import FEWEST_PEOPLE, bootstrap_mean, difference_bounds
from imagpose.outputs import staged_folder

PUBLISHED = {
    "Standard": (33.4, 56.6, 64.9, 69.2),
    "PTN": (55.6, 57.3, 67.1, 72.5),
    "GFLA": (57.3, 59.7, 67.6, 73.2),
    "DPTN": (58.1, 62.6, 69.0, 74.2),
    "PIDM": (61.3, 64.8, 71.6, 75.3),
    "PCDMs": (63.8, 67.1, 73.3, 76.4),
    "IMAGPose": (66.4, 69.2, 75.1, 77.6),
}
"""Rank-1 in percent with 20, 40, 60 and 80 % of Market-1501's training pictures. Source: the paper's Table 4."""
_RIGHT = "---:"


@dataclass(frozen=True, eq=False)
class Line:
    """A method on a share of the real pictures.

    Attributes:
        method: "standard", "copies" or "generated".
        share: 0..1.
        identities: (q,) whom each query that counts shows.
        first: (seeds, q), 1 where the first picture is right, else 0.
        precisions: (seeds, q), average precisions.
        sets: per seed, what `augment_set` says of the generated pictures; empty for other methods.
    """

    method: str
    share: float
    identities: np.ndarray
    first: np.ndarray
    precisions: np.ndarray
    sets: Sequence[dict[str, Any]] = ()


def write_table4(out: Path, lines: Sequence[Line], command: str, setting: Sequence[str]) -> str:
    """Write ``table4.md`` and ``table4.png``.

    Returns:
        The table, Markdown.
    """
    table = _table(lines)
    shares = list(dict.fromkeys(line.share for line in lines if line.share < 1))
    parts = [
        "# Table 4: re-identification with few real pictures",
        "A network is trained on a share of the real pictures: as they are (standard), as long as on the whole set"
        " (copies: the same pictures again, changed at random as always), and filled up to the whole set's size with"
        " generated pictures of the same people in poses of others (generated). In the paper, generated pictures help,"
        " the more the fewer real ones there are.",
        "## Measured here",
        " ".join(setting),
        table,
        "Mean over seeds, with a 95 % interval over identities (bootstrap: all queries of one person are drawn together).",
        "## Do generated pictures help?",
        _differences(lines, shares),
        "Mean difference in percentage points between two one-sided bounds of 97.5 % (bootstrap over identities). *Holds*:"
        " both bounds are above 0; *does not hold*: both are below; else not decided, as always with fewer than"
        f" {FEWEST_PEOPLE} identities. The bounds are about the people looked for, not about other seeds: the table's"
        " spread over seeds is beside it.",
        "## The generated sets",
        _sets(lines),
        "AUC: how well a small classifier tells generated from real pictures of people that it has not seen (0.5: not at"
        " all). Where it is near 1, a network can learn the difference in place of people.",
        "## The paper's rows",
        markdown_table(
            ["rank-1, %", "20 %", "40 %", "60 %", "80 %"],
            [[name, *(f"{value:.1f}" for value in values)] for name, values in PUBLISHED.items()],
            _RIGHT,
        ),
        "On photographs of Market-1501: they do not compare with rendered people. Its generators have seen all training"
        " pictures, also those outside the subsets (unless `--generator-per-subset`, so did the one here if it was"
        " fine-tuned).",
        "![Table 4](table4.png)",
        "## Command",
        f"    {command}",
        made_text(),
    ]
    with staged_folder(out, overwrite=True) as stage:
        _draw(stage / "table4.png", lines, shares)
        write_text(stage / "table4.md", "\n\n".join(parts) + "\n")
    return table


def _table(lines: Sequence[Line]) -> str:
    head = ["real pictures", "method", "rank-1, %", "over seeds", "mAP, %", "over seeds"]
    rows = []
    for line in lines:
        cells = [f"{100 * line.share:.0f} %", line.method]
        for values in (line.first, line.precisions):
            found = bootstrap_mean(values.mean(axis=0), line.identities)
            means = 100 * values.mean(axis=1)
            cells += [
                f"{100 * found.mean:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})",
                f"{means.min():.1f} to {means.max():.1f}" if len(means) > 1 else "one seed",
            ]
        rows.append(cells)
    return markdown_table(head, rows, _RIGHT)


def _differences(lines: Sequence[Line], shares: Sequence[float]) -> str:
    by = {(line.method, line.share): line for line in lines}
    rows = []
    for share in shares:
        for other in ("standard", "copies"):
            one, against = by["generated", share], by[other, share]
            cells = [f"{100 * share:.0f} %", f"generated against {other}"]
            for name in ("first", "precisions"):
                ours, theirs = (getattr(line, name).mean(axis=0) for line in (one, against))
                bounds = difference_bounds(ours, theirs, one.identities)
                decided = "holds" if bounds.low > 0 else "does not hold" if bounds.high < 0 else "not decided"
                cells.append(
                    f"{100 * bounds.mean:+.1f} ({100 * bounds.low:+.1f} to {100 * bounds.high:+.1f}) {decided}"
                )
            rows.append(cells)
    return markdown_table(["real pictures", "", "rank-1", "mAP"], rows, _RIGHT)


def _sets(lines: Sequence[Line]) -> str:
    rows = []
    for line in lines:
        for number, own in enumerate(line.sets):
            auc = own["auc_real_or_generated"]
            cells = [f"{own['real']:,}", f"{own['generated']:,}", f"{sum(own['rejected'].values()):,}"]
            rows.append(
                [f"{100 * line.share:.0f} %, seed {number}", *cells, "too few people" if auc is None else f"{auc:.3f}"]
            )
    return markdown_table(["", "real", "generated", "rejected", "AUC"], rows, _RIGHT)


def _draw(path: Path, lines: Sequence[Line], shares: Sequence[float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=110)
    for panel, (name, title) in zip(
        figure.subplots(1, 2), (("first", "rank-1, %"), ("precisions", "mAP, %")), strict=True
    ):
        for place, method in enumerate(dict.fromkeys(line.method for line in lines)):
            own = sorted(
                (line for line in lines if line.method == method and line.share in shares), key=lambda o: o.share
            )
            found = [bootstrap_mean(getattr(line, name).mean(axis=0), line.identities) for line in own]
            means = np.array([value.mean for value in found])
            ends = np.array([[value.mean - value.low, value.high - value.mean] for value in found]).T
            panel.errorbar(
                [100 * line.share + place - 1 for line in own],
                100 * means,
                100 * ends,
                marker="o",
                capsize=3,
                label=method,
            )
        panel.set_xlabel("real training pictures, %")
        panel.set_ylabel(title)
    figure.axes[0].legend()
    figure.savefig(path, format="png")
