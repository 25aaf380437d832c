"""What it would take to decide what is not decided: how many people, and how many trainings.

Bounds narrow with the square root of the number of people, and means over seeds with that of the seeds. Both numbers are
those with which a difference as large as the one seen is decided in 80 % of repetitions, at one-sided bounds of 97.5 %.
Source: the usual normal approximation, n = ((1.96 + 0.84) s / gap)^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_BOUND, _POWER = 1.959964, 0.841621  # quantiles of the normal distribution at 97.5 % and 80 %


def gap_to_decide(expected: str, difference: float, margin: float) -> float:
    """How far a difference is from what would change the verdict, see `claims.verdict`.

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
