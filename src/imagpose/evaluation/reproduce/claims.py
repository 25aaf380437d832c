"""Whether the order of the paper holds here: pair by pair, with an interval, and said plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from imagpose.evaluation.reproduce.measured import Measured
from imagpose.evaluation.rows import METRICS
from imagpose.metrics.statistics import Comparison, compare_paired

__all__ = ["Claim", "claim_table", "verdict"]

_COMPARED = ("ssim", "psnr", "lpips", "pck", "iou", "rank1")
_CLEAN = {metric.key: metric for metric in METRICS["clean"]}


@dataclass(frozen=True)
class Claim:
    """What is expected of two lines of a table.

    Attributes:
        one, other: names of the lines.
        expected: "better", if `one` should be better than `other`; "alike", if they should be about equal.
    """

    one: str
    other: str
    expected: Literal["better", "alike"] = "better"


def claim_table(claims: Sequence[Claim], lines: Mapping[str, Measured]) -> list[list[str]]:
    """Head and lines: per claim the mean difference of each measure over the pairs that both lines have, its 95 %
    interval, and whether that is as expected. Measures of the clean protocol that nobody has a value of are left out."""
    keys = [key for key in _COMPARED if any(f"clean_{key}" in line.values for line in lines.values())]
    head = ["", "expected", "pairs", *(f"{_CLEAN[key].name} {'↑' if _CLEAN[key].higher else '↓'}" for key in keys)]
    body = []
    for claim in claims:
        one, other = lines[claim.one], lines[claim.other]
        cells, counts = [], [0]
        for key in keys:
            pairs, comparison = _compare(one, other, f"clean_{key}")
            counts.append(pairs)
            cells.append("" if comparison is None else _text(claim, comparison, _CLEAN[key].higher))
        body.append([f"{claim.one} against {claim.other}", claim.expected, f"{max(counts):,}", *cells])
    return [head, *body]


def _compare(one: Measured, other: Measured, column: str) -> tuple[int, Comparison | None]:
    mine, theirs = one.values.get(column, {}), other.values.get(column, {})
    shared = [pair for pair in mine if pair in theirs]
    if not shared:
        return 0, None
    values = np.array([(mine[pair], theirs[pair]) for pair in shared])
    return len(shared), compare_paired(values[:, 0], values[:, 1])


def _text(claim: Claim, comparison: Comparison, higher: bool) -> str:
    difference = comparison.difference
    digits = 3 if abs(difference.mean) < 2 else 2
    numbers = f"{difference.mean:+.{digits}f} [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"
    return f"{numbers} {verdict(claim, comparison, higher)}"


def verdict(claim: Claim, comparison: Comparison, higher: bool) -> str:
    """ "as expected", "the other way round", "differ" (where they should be alike) or "not told apart".

    Args:
        higher: whether higher values are better.
    """
    low, high = comparison.difference.low, comparison.difference.high
    if low <= 0 <= high:
        return "as expected" if claim.expected == "alike" else "not told apart"
    if claim.expected == "alike":
        return "differ"
    return "as expected" if (low > 0) == higher else "the other way round"
