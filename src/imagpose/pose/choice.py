"""Which units, which points, which person: decided from the bulk of the points, and never by guess in silence."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

UNITS = ("pixels", "fractions", "percent", "signed")  # of the frame: pixels, [0, 1], [0, 100], [-1, 1]
MIN_CONFIDENCE = 0.1
_BULK = 0.8  # share of the coordinates that decides
_LARGEST_FRACTION, _SMALLEST_PIXELS = 1.5, 8.0
_SLIGHTLY_OUTSIDE, _CLEARLY_SIGNED = -0.15, -0.3
_FEW_NEGATIVE, _MANY_NEGATIVE = 0.15, 0.25
_FARTHEST_FRACTION, _FARTHEST = 3.0, 100_000.0
_LEAST_PERCENT = 50.0  # of the frame that people in percent fill, in height or width


def drop_missing(points: np.ndarray, min_confidence: float, units: str | None) -> np.ndarray:
    """Points with confidence 0 and place 0, 0 where they are missing.

    Missing are: not a number, -1 (either coordinate), 0, 0, less than `min_confidence`, and what lies absurdly far
    off. In [-1, 1], 0, 0 is the frame's middle and -1 its edge: there only -1, -1 is missing.

    Args:
        points: (..., 3) as the file has them.
        min_confidence: 0..1.
        units: one of `UNITS`, None where they are not known yet.
    """
    x, y, confidence = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    limit = {None: _FARTHEST, "pixels": _FARTHEST, "percent": 100 * _FARTHEST_FRACTION}.get(units, _FARTHEST_FRACTION)
    with np.errstate(invalid="ignore"):
        missing = ~(np.isfinite(x) & np.isfinite(y) & (np.abs(x) <= limit) & (np.abs(y) <= limit))
        missing |= ~(confidence >= min_confidence) | (confidence <= 0) | ((x == -1) & (y == -1))
        if units != "signed":
            missing |= (x == 0) & (y == 0)
        if units in ("pixels", "fractions", "percent"):
            missing |= (x == -1) | (y == -1)
    return np.where(missing[..., None], 0.0, points)


def find_units(points: Iterable[np.ndarray]) -> str | None:
    """Units of a file's points by the bulk of the coordinates; None where two readings are possible.

    Args:
        points: (n, 3) of each person, missing points with confidence 0.

    Returns:
        One of `UNITS`: pixels where a fifth of the coordinates or more lie beyond 8; of the frame where four fifths lie
        within 1.5, and then signed where many are clearly negative, fractions where few are, and slightly.
    """
    places = np.concatenate([one[one[:, 2] > 0, :2] for one in points])
    if not len(places):
        return "pixels"
    size = np.quantile(np.abs(places), _BULK)
    if size > _LARGEST_FRACTION:
        return "pixels" if size >= _SMALLEST_PIXELS else None
    inner = places[(np.abs(places) <= _LARGEST_FRACTION).all(1)]
    if not len(inner):
        return None
    negative = (inner < 0).mean(0)  # of x, of y: only a body about the middle has many of both
    if (negative >= _MANY_NEGATIVE).all() or (
        negative.mean() >= _MANY_NEGATIVE and (inner < _CLEARLY_SIGNED).sum() >= 3
    ):
        return "signed"
    if negative.mean() <= _FEW_NEGATIVE and np.quantile(inner, 1 - 0.95) >= _SLIGHTLY_OUTSIDE:
        return "fractions"
    return None


def percent_reach(points: Iterable[np.ndarray]) -> np.ndarray | None:
    """How far right and down a file's points reach if they may be percent of the frame; None where they are not.

    As pixels of a frame of twice that or more, all people of the file stand in its upper left corner, small.

    Args:
        points: (n, 3) of each person, missing points with confidence 0.

    Returns:
        (x, y): the largest in 0..100 of nineteen in twenty coordinates, which span at least half of that range.
    """
    places = np.concatenate([one[one[:, 2] > 0, :2] for one in points])
    low, high = np.quantile(places, (0.05, 0.95), axis=0)
    possible = low.min() >= 0 and high.max() <= 100 and (high - low).max() >= _LEAST_PERCENT
    return high if possible else None


def to_pixels(points: np.ndarray, units: str, size: tuple[int, int]) -> np.ndarray:
    """Found points (..., 3) in pixels of a frame of `size` (height, width); missing ones stay at 0, 0."""
    places = points[..., :2]
    frame = np.array([size[1], size[0]], np.float64)
    if units in ("fractions", "percent"):
        places = places * frame / (100 if units == "percent" else 1)
    elif units == "signed":
        places = (places + 1) / 2 * frame
    return np.concatenate([np.where(points[..., 2:] > 0, places, 0.0), points[..., 2:]], -1)


def choose_person(people: list[np.ndarray]) -> int:
    """The person with the most, and most confident, points in the largest robust box.

    Args:
        people: (18, 3) each, missing points with confidence 0, at least one.

    Returns:
        The index with the largest product of summed confidence and area of the box; the first of equals.
    """
    return int(np.argmax([one[:, 2].sum() * _robust_area(one) for one in people]))


def nearest_person(people: list[np.ndarray], last: np.ndarray) -> int:
    """The person who is nearest to where somebody was last seen, by the mean distance of the points found in both.

    Args:
        people: (18, 3) each, missing points with confidence 0, at least one.
        last: (18, 3), in the same units.

    Returns:
        The index, the first of equals; of people who share no point with `last`, as `choose_person`.
    """
    distances = []
    for one in people:
        both = (one[:, 2] > 0) & (last[:, 2] > 0)
        apart = np.linalg.norm(one[both, :2] - last[both, :2], axis=1)
        distances.append(float(apart.mean()) if len(apart) else np.inf)
    return int(np.argmin(distances)) if np.isfinite(distances).any() else choose_person(people)


def _robust_area(points: np.ndarray) -> float:
    """Area between the 10th and 90th percentile of the found points: one stray point does not make a person large."""
    found = points[points[:, 2] > 0, :2]
    if not len(found):
        return 0.0
    low, high = np.quantile(found, (0.1, 0.9), axis=0)
    sides = high - low
    # A person seen from the side, or of two joints, has width all the same.
    return float(np.prod(np.maximum(sides, 0.2 * sides.max() + 1e-6)))
