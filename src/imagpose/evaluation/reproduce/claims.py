"""Whether the order of the paper holds here: difference by difference, with bounds, in three verdicts.

"better" holds where all of the bounded difference is better. "alike" is an equivalence test: it holds where two one-sided
bounds lie within a stated margin, so that few people, who bound little, decide nothing. Source: Schuirmann, "A comparison of
the two one-sided tests procedure and the power approach", 1987.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from imagpose.evaluation.reproduce.measured import Measured
from imagpose.evaluation.rows import METRICS
from imagpose.metrics.statistics import Interval, difference_bounds

__all__ = ["MARGINS", "Claim", "claim_table", "verdict"]

MARGINS = {"ssim": 0.01, "psnr": 0.3, "lpips": 0.01, "pck": 0.02, "iou": 0.02, "rank1": 0.05}
"""Differences that do not matter, by measure. Of SSIM and LPIPS about the step from PCDMs to IMAGPose in the paper's Table 1
(.0117 and .0081); the others are ours."""
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
    """Head and lines: per claim the mean difference of each measure over the pairs that both lines have, its bounds, and
    the verdict. Measures of the clean protocol that nobody has a value of are left out."""
    keys = [key for key in MARGINS if any(f"clean_{key}" in line.values for line in lines.values())]
    head = ["", "expected", "pairs", "people"]
    head += [f"{_CLEAN[key].name} {'↑' if _CLEAN[key].higher else '↓'}, margin {MARGINS[key]:g}" for key in keys]
    body = []
    for claim in claims:
        one, other = lines[claim.one], lines[claim.other]
        cells, pairs, people = [], 0, 0
        for key in keys:
            found = _compare(one, other, f"clean_{key}")
            if found is None:
                cells.append("")
                continue
            pairs, people = max(pairs, found.pairs), max(people, found.people)
            decided = verdict(claim, found.difference, MARGINS[key], _CLEAN[key].higher)
            cells.append(f"{_numbers(found.difference)} {decided}")
        body.append([f"{claim.one} against {claim.other}", claim.expected, f"{pairs:,}", f"{people:,}", *cells])
    return [head, *body]


@dataclass(frozen=True)
class _Found:
    difference: Interval
    pairs: int
    people: int


def _compare(one: Measured, other: Measured, column: str) -> _Found | None:
    """The difference over the pairs that both have a value of; None without any."""
    mine, theirs = one.values.get(column, {}), other.values.get(column, {})
    shared = [pair for pair in mine if pair in theirs]
    if not shared:
        return None
    values = np.array([(mine[pair], theirs[pair]) for pair in shared])
    people = np.array([one.people[pair] for pair in shared])
    difference = difference_bounds(values[:, 0], values[:, 1], people)
    return _Found(difference, len(shared), len(set(people.tolist())))


def _numbers(difference: Interval) -> str:
    digits = 3 if abs(difference.mean) < 2 else 2
    bounds = f" [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]" if np.isfinite(difference.low) else ""
    return f"{difference.mean:+.{digits}f}{bounds}"


def verdict(claim: Claim, difference: Interval, margin: float, higher: bool) -> str:
    """ "holds", "does not hold" or "not decided".

    A claim of "better" does not hold where the difference is worse, nor where 0 is possible and nothing beyond the margin
    is. A claim of "alike" does not hold where the difference is beyond the margin.

    Args:
        difference: of `one` against `other`, between its bounds.
        margin: differences up to it do not matter.
        higher: whether higher values are better.
    """
    low, high = difference.low, difference.high
    within = -margin < low and high < margin
    if claim.expected == "alike":
        apart = low > margin or high < -margin
        return "holds" if within else "does not hold" if apart else "not decided"
    better, worse = (low > 0, high < 0) if higher else (high < 0, low > 0)
    return "holds" if better else "does not hold" if worse or within else "not decided"
