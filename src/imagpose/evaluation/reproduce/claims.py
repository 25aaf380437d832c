"""Whether the order of the paper holds here: difference by difference, with bounds, in three verdicts.

"better" holds where all of the bounded difference is better. "alike" is an equivalence test: it holds where two one-sided
bounds lie within a stated margin, so that few people, who bound little, decide nothing. Source: Schuirmann, "A comparison of
the two one-sided tests procedure and the power approach", 1987.

What is not decided comes with the people and the trainings that would decide it: bounds narrow with the square root of the
number of people, and means over seeds with that of the seeds. Both numbers are those with which a difference as large as the
one seen is decided in 80 % of repetitions, at one-sided bounds of 97.5 %. Source: the usual normal approximation,
n = ((1.96 + 0.84) s / gap)^2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from imagpose.evaluation.reproduce.measured import Measured
from imagpose.evaluation.rows import METRICS
from imagpose.metrics.statistics import Interval, difference_bounds

MARGINS = {"ssim": 0.01, "psnr": 0.3, "lpips": 0.01, "pck": 0.02, "iou": 0.02, "rank1": 0.05}
"""Differences that do not matter, by measure. Of SSIM and LPIPS about the step from PCDMs to IMAGPose in the paper's Table 1
(.0117 and .0081); the others are ours."""
_BOUND, _POWER = 1.959964, 0.841621  # quantiles of the normal distribution at 97.5 % and 80 %
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


@dataclass(frozen=True)
class Finding:
    """What was found of a claim in one measure of the clean protocol.

    Attributes:
        one, other, expected: of the claim.
        measure: key in `MARGINS`.
        difference, low, high: mean of `one` less `other` over the pairs that both have, and its bounds; infinite where too
            few people were seen.
        pairs, people: how many there are.
        verdict: "holds", "does not hold" or "not decided".
    """

    one: str
    other: str
    expected: str
    measure: str
    difference: float
    low: float
    high: float
    pairs: int
    people: int
    verdict: str

    def stored(self) -> dict[str, Any]:
        """As JSON holds it: bounds that are infinite are null."""
        return {
            name: None if isinstance(own, float) and not np.isfinite(own) else own for name, own in vars(self).items()
        }


def find_claims(claims: Sequence[Claim], lines: Mapping[str, Measured]) -> list[Finding]:
    """Every claim in every measure that both of its lines have values of."""
    findings = []
    for claim in claims:
        one, other = lines[claim.one], lines[claim.other]
        for key, margin in MARGINS.items():
            mine, theirs = one.values.get(f"clean_{key}", {}), other.values.get(f"clean_{key}", {})
            shared = [pair for pair in mine if pair in theirs]
            if not shared:
                continue
            values = np.array([(mine[pair], theirs[pair]) for pair in shared])
            people = np.array([one.people[pair] for pair in shared])
            found = difference_bounds(values[:, 0], values[:, 1], people)
            decided = verdict(claim, found, margin, _CLEAN[key].higher)
            size = len(shared), len(set(people.tolist()))
            findings.append(
                Finding(claim.one, claim.other, claim.expected, key, found.mean, found.low, found.high, *size, decided)
            )
    return findings


def claim_table(findings: Sequence[Finding]) -> list[list[str]]:
    """Head and lines: per claim the mean difference of each measure, its bounds, and the verdict."""
    keys = [key for key in MARGINS if any(own.measure == key for own in findings)]
    head = ["", "expected", "pairs", "people"]
    head += [f"{_CLEAN[key].name} {'↑' if _CLEAN[key].higher else '↓'}, margin {MARGINS[key]:g}" for key in keys]
    claims: dict[tuple[str, str, str], dict[str, Finding]] = {}
    for own in findings:
        claims.setdefault((own.one, own.other, own.expected), {})[own.measure] = own
    body = []
    for (one, other, expected), found in claims.items():
        pairs, people = (max(getattr(own, name) for own in found.values()) for name in ("pairs", "people"))
        cells = [f"{_numbers(found[key])} {found[key].verdict}" if key in found else "" for key in keys]
        body.append([f"{one} against {other}", expected, f"{pairs:,}", f"{people:,}", *cells])
    return [head, *body]


def _numbers(found: Finding) -> str:
    digits = 3 if abs(found.difference) < 2 else 2
    bounds = f" [{found.low:+.{digits}f}, {found.high:+.{digits}f}]" if np.isfinite(found.low) else ""
    return f"{found.difference:+.{digits}f}{bounds}"


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


def gap_to_decide(expected: str, difference: float, margin: float) -> float:
    """How far a difference is from what would change the verdict, see `verdict`.

    "better" is decided where bounds exclude 0, or lie within the margin; "alike" where they lie within it, or beyond.
    """
    size = abs(difference)
    return max(size, margin - size) if expected == "better" else abs(margin - size)


def people_needed(people: int, low: float, high: float, gap: float) -> int:
    """People with whom bounds that now lie `high` - `low` apart decide about a `gap`; at least as many as there are."""
    deviation = (high - low) / 2 / _BOUND * math.sqrt(people)
    return max(people, _needed(deviation, gap))


def seeds_needed(differences: Sequence[float], gap: float) -> int | None:
    """Trainings whose mean difference is known to `gap`; None where a single one says nothing of their spread."""
    if len(differences) < 2:
        return None
    return max(len(differences), _needed(float(np.std(differences, ddof=1)), gap))


def _needed(deviation: float, gap: float) -> int:
    return math.ceil(((_BOUND + _POWER) * deviation / gap) ** 2) if gap > 0 else 10**9
