"""Views of a data set that pictures are judged against, and what all ways of judging share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from imagpose.data.dataset import PersonDataset
from imagpose.data.records import ViewRecord
from imagpose.evaluation.folders import Pair, refuse
from imagpose.evaluation.networks import Needs
from imagpose.evaluation.parts import Files, Parts
from imagpose.evaluation.pixels import read_rgb
from imagpose.metrics.keypoints import counted_points, oks, pck

__all__ = ["JUDGED", "SPLIT", "JudgedPairs", "JudgedViews", "Work", "keypoint_values", "values_of_pairs"]

JUDGED = ("pck", "oks", "iou", "rank1")
"""Measures of the clean protocol that need to know which view a picture should show."""
SPLIT = "test"
"""The split that pictures are judged against."""
_PART = 32
Work = Callable[[Sequence[np.ndarray], Sequence[ViewRecord]], np.ndarray]
"""Rows of values (n, k) of n pictures uint8 (H, W, 3) and the views that they should show."""


class JudgedViews(ABC):
    """The test split of a data set, and what judges pictures of its people."""

    def __init__(self, dataset: PersonDataset) -> None:
        self.dataset = dataset
        self._known: dict[str, ViewRecord] = {}

    def record(self, name: str) -> ViewRecord | None:
        """The view "<identity>/<view>"; None where the split has none of this name."""
        identity = name.rpartition("/")[0]
        if name not in self._known and identity in set(self.dataset.identities):
            self._known |= {f"{identity}/{own.view}": own for own in self.dataset.views(identity)}
        return self._known.get(name)

    @property
    @abstractmethod
    def note(self) -> str:
        """What a reader of the numbers should know."""

    @abstractmethod
    def judge(self, pairs: Sequence[Pair], judged: JudgedPairs, parts: Parts) -> dict[str, np.ndarray | Needs]:
        """Per measure of `JUDGED` the values (pairs, samples), or what it needs; with `_real` those of the references.

        Raises:
            ValueError: a reference that is no view of the data set, or of another size; damaged pictures.
        """


@dataclass(frozen=True)
class JudgedPairs:
    """Which views some pairs are of.

    Attributes:
        views: the data set's.
        targets: per pair the view "<identity>/<view>" that was asked for.
        sources: per pair the views that were given; None where that is not known.
    """

    views: JudgedViews
    targets: Sequence[str]
    sources: Sequence[Sequence[str]] | None = None


def values_of_pairs(
    pairs: Sequence[Pair], judged: JudgedPairs, parts: Parts, what: str, work: Work
) -> tuple[np.ndarray, np.ndarray]:
    """What `work` makes of the generated pictures (pairs, samples, k), and of the references (pairs, k).

    Raises:
        ValueError: a reference that is no view of the data set, or of another size; damaged pictures.
    """
    of_reference = dict(zip([pair.reference for pair in pairs], _records(pairs, judged), strict=True))
    own = partial(_rows, work=work, of_reference=of_reference)
    items: list[Files] = [(sample, pair.reference) for pair in pairs for sample in pair.samples]
    references: list[Files] = [(pair.reference, pair.reference) for pair in pairs]
    distinct = list(dict.fromkeys(references))
    what = f"{what} {judged.views.dataset.info.plan}"
    made = parts.values(what, items, _PART, own, shared=False)
    real = parts.values(what, distinct, _PART, own, shared=False)
    place = {item: number for number, item in enumerate(distinct)}
    shape = len(pairs), len(pairs[0].samples)
    return made.reshape(*shape, -1), real[[place[item] for item in references]]


def _records(pairs: Sequence[Pair], judged: JudgedPairs) -> list[ViewRecord]:
    """The view of each pair."""
    found = [(target, judged.views.record(target)) for target in judged.targets]
    strangers = [target for target, record in found if record is None]
    dataset = judged.views.dataset
    refuse(strangers, f"references that split {SPLIT} of {dataset.folder} has no view of")
    records = [record for _, record in found if record is not None]
    for pair, record in zip(pairs, records, strict=True):
        height, width = read_rgb(pair.reference).shape[:2]
        if (width, height) != (record.width, record.height):
            raise ValueError(
                f"{pair.reference} has {width}x{height} pixels, the data set's view {record.width}x{record.height}"
            )
    return records


def _rows(items: Sequence[Files], work: Work, of_reference: dict) -> np.ndarray:
    pictures = [read_rgb(picture) for picture, _ in items]
    records = [of_reference[reference] for _, reference in items]
    for picture, record in zip(pictures, records, strict=True):
        if picture.shape[:2] != (record.height, record.width):
            raise ValueError(
                f"a picture of {picture.shape[1]}x{picture.shape[0]} pixels, another size than its reference"
            )
    return work(pictures, records)


def keypoint_values(found: np.ndarray, record: ViewRecord, area: float) -> tuple[float, float]:
    """PCK and OKS of key points (18, 2 or more) found in a picture that should show a view."""
    counted = counted_points(record.keypoints, record.width, record.height)
    return pck(found, record.keypoints, counted), oks(found, record.keypoints, counted, area)
