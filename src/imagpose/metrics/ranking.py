"""Who is found first: ranks, CMC and mAP of a re-identification set.

A query looks for its identity in the gallery. Pictures of the query's own identity from the query's own camera do not
count for it. Junk is no part of the gallery; distractors are, and can be in the way only (`data.reid` knows both).
Source: Zheng et al., "Scalable person re-identification: a benchmark", 2015; the average precision is the mean of the
precisions at the right matches (as in the evaluations that papers use today), not the trapezoid rule of 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_AT_ONCE = 8_000_000  # distances held at a time


@dataclass(frozen=True, eq=False)
class Labels:
    """Whom pictures show, and which camera took them: int (n,) each."""

    identities: np.ndarray
    cameras: np.ndarray


@dataclass(frozen=True, eq=False)
class Ranking:
    """What each query found; queries whose identity has no picture by another camera do not count.

    Attributes:
        ranks: int (n,), place of the first right match from 1 on; 0 where the query does not count.
        precisions: (n,) average precision, NaN where the query does not count.
    """

    ranks: np.ndarray
    precisions: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """bool (n,): the queries that count."""
        counted: np.ndarray = self.ranks > 0
        return counted

    def cmc(self, place: int) -> float:
        """Share of the queries whose first right match lies among the first `place` (rank-1, rank-5, ...)."""
        return float((self.ranks[self.counted] <= place).mean())

    @property
    def mean_precision(self) -> float:
        """mAP."""
        return float(self.precisions[self.counted].mean())


def rank_gallery(queries: np.ndarray, asked: Labels, gallery: np.ndarray, held: Labels) -> Ranking:
    """Rank the gallery for each query, the nearest first; of equally near ones the gallery's first comes first.

    Args:
        queries, gallery: features (n, d) and (m, d) of length 1; nearness is their cosine, whose order is that of the
            Euclidean distances.
        asked, held: labels of both.

    Raises:
        ValueError: no query counts.
    """
    ranks, precisions = np.zeros(len(queries), np.int64), np.full(len(queries), np.nan)
    for number, nearness in enumerate(_nearness(queries, gallery)):
        same = held.identities == asked.identities[number]
        order = np.argsort(-nearness, kind="stable")
        order = order[~(same & (held.cameras == asked.cameras[number]))[order]]
        places = 1 + np.flatnonzero(same[order])
        if len(places):
            ranks[number] = places[0]
            precisions[number] = (np.arange(1, len(places) + 1) / places).mean()
    if not ranks.any():
        raise ValueError("no query's identity has a picture by another camera in the gallery: nothing can be ranked")
    return Ranking(ranks, precisions)


def _nearness(queries: np.ndarray, gallery: np.ndarray) -> Iterator[np.ndarray]:
    """Cosines (m,) of each query, some queries at a time: all of a large set would fill the memory."""
    rows = max(1, _AT_ONCE // max(1, len(gallery)))
    for start in range(0, len(queries), rows):
        yield from queries[start : start + rows] @ gallery.T


def separability(one: np.ndarray, other: np.ndarray) -> float:
    """AUC: the probability that a value of `one` is higher than a value of `other`, equal ones counting half.

    0.5: the values do not tell them apart. Source: Mann and Whitney, 1947.
    """
    below = np.searchsorted(np.sort(other), one, side="left") + np.searchsorted(np.sort(other), one, side="right")
    return float(below.mean() / (2 * len(other)))
