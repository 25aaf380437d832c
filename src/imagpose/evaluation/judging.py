"""What judges say of pictures: pose, silhouette and identity of rendered people, the pose of photographed ones.

Each value stands beside what the same judge makes of the real picture. The shipped judges know rendered people only: a
data set says in its info.json whether `imagpose prepare people` made it. In photographs a detector finds the key points
again (the extra `pose` and its networks, see `pose.detection`); their outlines and identities are not judged. The same
detector may judge the poses of rendered people: it has never seen a render.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from imagpose.data.dataset import PersonDataset
from imagpose.data.info import read_info
from imagpose.data.records import ViewRecord, identity_of
from imagpose.evaluation.folders import ComparedPair, refuse
from imagpose.evaluation.networks import Needs
from imagpose.evaluation.pixel_values import read_rgb
from imagpose.evaluation.store import Files, ValueStore
from imagpose.io import file_digest
from imagpose.judges.identity import IDENTITY_WEIGHTS, embed_people, first_ranks
from imagpose.judges.pose import POSE_WEIGHTS, find_keypoints
from imagpose.judges.silhouette import SILHOUETTE_WEIGHTS, find_foreground
from imagpose.metrics.keypoints import counted_points, oks, pck
from imagpose.metrics.pixels import mask_iou
from imagpose.pictures import picture_size
from imagpose.pose.detection import open_detector
from imagpose.pose.detector import PoseDetector
from imagpose.pose.keypoints import Pose

JUDGED = ("pck", "oks", "iou", "rank1")
"""Measures of the clean protocol that need to know which view a picture should show."""
SPLIT = "test"
"""The split that pictures are judged against."""
_PART = 32
Work = Callable[[Sequence[np.ndarray], Sequence[ViewRecord]], np.ndarray]
"""Rows of values (n, k) of n pictures uint8 (H, W, 3) and the views that they should show."""
NOT_RENDERED = Needs("needs rendered people: a data set of imagpose prepare people; the judges know no photographs")
_NO_DATA = Needs("needs the references' poses and people: a data set (--data)")
_NO_DETECTOR = Needs("needs rendered people, or for key points --detect")
_VERSION = "1"  # of what is computed, for the values that are kept


def open_judged_views(folder: Path | None, detect: str | None = None) -> JudgedViews | Needs:
    """The views of a data set with their judges, or why there are none.

    Args:
        folder: the data set; None where it is not known.
        detect: finds key points in photographs, and in rendered people in place of the shipped judge; see
            `open_detector`.

    Raises:
        FileNotFoundError, ValueError, OSError: as `PersonDataset` and `open_detector`; or `detect` without a data set.
    """
    if folder is None:
        if detect is not None:
            raise ValueError("detect compares with the key points of a data set: name it (--data)")
        return _NO_DATA
    rendered = read_info(folder).settings.get("command") == "people"
    if not rendered and detect is None:
        return _NO_DETECTOR
    dataset = PersonDataset(folder, SPLIT)
    if detect is None:
        return RenderedPeople(dataset)
    detector = open_detector(detect)
    return DetectedPeople(dataset, detector) if rendered else Photographs(dataset, detector)


def judge_pairs(
    pairs: Sequence[ComparedPair], judged: JudgedPairs | Needs, store: ValueStore
) -> dict[str, np.ndarray | Needs]:
    """Per measure the values (pairs, samples), or what it needs; see `JudgedViews.judge`."""
    return dict.fromkeys(JUDGED, judged) if isinstance(judged, Needs) else judged.views.judge(pairs, judged, store)


class JudgedViews(ABC):
    """The test split of a data set, and what judges pictures of its people."""

    def __init__(self, dataset: PersonDataset) -> None:
        self.dataset = dataset
        self._identities = frozenset(dataset.identities)
        self._known: dict[str, ViewRecord] = {}

    def record(self, name: str) -> ViewRecord | None:
        """The view "<identity>/<view>"; None where the split has none of this name."""
        identity = identity_of(name)
        if name not in self._known and identity in self._identities:
            self._known |= self.dataset.by_name(identity)
        return self._known.get(name)

    @property
    @abstractmethod
    def note(self) -> str:
        """What a reader of the numbers should know."""

    @abstractmethod
    def judge(
        self, pairs: Sequence[ComparedPair], judged: JudgedPairs, store: ValueStore
    ) -> dict[str, np.ndarray | Needs]:
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
    pairs: Sequence[ComparedPair], judged: JudgedPairs, store: ValueStore, what: str, work: Work
) -> tuple[np.ndarray, np.ndarray]:
    """What `work` makes of the generated pictures (pairs, samples, k), and of the references (pairs, k).

    Raises:
        ValueError: a reference that is no view of the data set, or of another size; damaged pictures.
    """
    records = _records(pairs, judged)
    of_reference: dict[Path | None, ViewRecord] = {
        pair.reference: record for pair, record in zip(pairs, records, strict=True)
    }
    own = partial(_rows, work=work, of_reference=of_reference)
    items: list[Files] = [(sample, pair.reference) for pair in pairs for sample in pair.samples]
    references: list[Files] = [(pair.reference, pair.reference) for pair in pairs]
    distinct = list(dict.fromkeys(references))
    what = f"{what} {judged.views.dataset.info.fingerprint}"
    made = store.values(what, items, _PART, own, shared=False)
    real = store.values(what, distinct, _PART, own, shared=False)
    place = {item: number for number, item in enumerate(distinct)}
    shape = len(pairs), len(pairs[0].samples)
    return made.reshape(*shape, -1), real[[place[item] for item in references]]


def _records(pairs: Sequence[ComparedPair], judged: JudgedPairs) -> list[ViewRecord]:
    """The view of each pair."""
    found = [(target, judged.views.record(target)) for target in judged.targets]
    strangers = [target for target, record in found if record is None]
    dataset = judged.views.dataset
    refuse(strangers, f"references that split {SPLIT} of {dataset.folder} has no view of")
    records = [record for _, record in found if record is not None]
    for pair, record in zip(pairs, records, strict=True):
        width, height = picture_size(pair.reference)
        if (width, height) != (record.width, record.height):
            raise ValueError(
                f"{pair.reference} has {height}x{width} pixels, the data set's view {record.height}x{record.width}"
            )
    return records


def _rows(items: Sequence[Files], work: Work, of_reference: dict[Path | None, ViewRecord]) -> np.ndarray:
    pictures = [read_rgb(picture) for picture, _ in items]
    records = [of_reference[reference] for _, reference in items]
    for picture, record in zip(pictures, records, strict=True):
        if picture.shape[:2] != (record.height, record.width):
            raise ValueError(
                f"a picture of {picture.shape[1]}x{picture.shape[0]} pixels, another size than its reference"
            )
    return work(pictures, records)


def _beside_real(keys: Sequence[str], made: np.ndarray, real: np.ndarray) -> dict[str, np.ndarray | Needs]:
    """Per measure its column of `made` (pairs, samples, k); with `_real` that of `real` (pairs, k), for each sample."""
    values: dict[str, np.ndarray | Needs] = {}
    for column, key in enumerate(keys):
        values[key] = made[..., column]
        values[f"{key}_real"] = real[:, column, None].repeat(made.shape[1], 1)
    return values


def keypoint_values(found: np.ndarray, record: ViewRecord, area: float) -> tuple[float, float]:
    """PCK and OKS of key points (18, 2 or more) found in a picture that should show a view."""
    counted = counted_points(record.keypoints, record.width, record.height)
    return pck(found, record.keypoints, counted), oks(found, record.keypoints, counted, area)


class RenderedPeople(JudgedViews):
    """The test split of a data set of rendered people: what is true of each view, and the gallery of all."""

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Vectors (n, d) of length 1 of pictures uint8 (n, H, W, 3): those of one person lie close together."""
        return embed_people(pictures)

    @cached_property
    def gallery(self) -> tuple[np.ndarray, np.ndarray]:
        """Names (m,) of all views of the split, and their embeddings (m, d)."""
        names, found = [], []
        for identity in track(self.dataset.identities, "gallery", console=Console(stderr=True)):
            records = self.dataset.views(identity)
            names += [own.name for own in records]
            found += [self.embed(run) for run in equal_sizes([np.asarray(own.decode()) for own in records])]
        return np.array(names), np.concatenate(found)

    @property
    def note(self) -> str:
        """How large the gallery is, without which rank-1 says nothing."""
        views = int(self.dataset.view_counts.sum())
        return f"Identity: {views:,} real views of {len(self.dataset):,} people are searched."

    def judge(
        self, pairs: Sequence[ComparedPair], judged: JudgedPairs, store: ValueStore
    ) -> dict[str, np.ndarray | Needs]:
        """`pck`, `oks`: key points found in the picture against those asked for. `iou`: silhouette found in the picture
        against the renderer's mask. `rank1`: 1 where the nearest real view shows the right person; the target and its
        sources are left out of the gallery, and where the sources are not known the measure is called `rank1_open`.
        """
        weights = file_digest(POSE_WEIGHTS, IDENTITY_WEIGHTS, SILHOUETTE_WEIGHTS)[:16]
        made, real = values_of_pairs(pairs, judged, store, f"people {_VERSION} {weights}", judge_views)
        return _beside_real(("pck", "oks", "iou"), made, real) | self.ranks(made[..., 3:], real[:, 3:], judged)

    def ranks(self, made: np.ndarray, real: np.ndarray, judged: JudgedPairs) -> dict[str, np.ndarray | Needs]:
        """`rank1` or `rank1_open`, see `judge`, of embeddings (pairs, samples, d), and of the references' (pairs, d)."""
        key = "rank1" if judged.sources is not None else "rank1_open"
        found = self.first_ranks(made, judged), self.first_ranks(real[:, None], judged)
        return _beside_real((key,), found[0][..., None], found[1])

    def first_ranks(self, embeddings: np.ndarray, judged: JudgedPairs) -> np.ndarray:
        """1 or 0 per pair and sample (pairs, samples, d), NaN where the gallery has no other view of the person."""
        names, gallery = self.gallery
        owners = np.array([identity_of(name) for name in names])
        wanted = np.array([identity_of(target) for target in judged.targets])
        left_out = names[None] == np.array(judged.targets)[:, None]
        for number, sources in enumerate(judged.sources or ()):
            left_out[number] |= np.isin(names, sources)
        possible = ((owners[None] == wanted[:, None]) & ~left_out).any(axis=1)
        ranks = [first_ranks(own, wanted, gallery, owners, left_out) for own in embeddings.swapaxes(0, 1)]
        return np.where(possible[:, None], np.stack(ranks, 1).astype(np.float64), np.nan)


def judge_views(pictures: Sequence[np.ndarray], records: Sequence[ViewRecord]) -> np.ndarray:
    """Rows of PCK, OKS, silhouette IoU and the embedding (n, 3 + 128) of pictures uint8 (H, W, 3) of some views."""
    found = [
        one
        for run in equal_sizes(pictures)
        for one in zip(find_keypoints(run), find_foreground(run), embed_people(run), strict=True)
    ]
    rows = []
    for (points, outline, embedding), record in zip(found, records, strict=True):
        mask = record.foreground()
        assert mask is not None  # rendered people have one
        rows.append([*keypoint_values(points, record, float(mask.sum())), mask_iou(outline, mask), *embedding])
    return np.array(rows, np.float64)


def equal_sizes(pictures: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Neighbours of one shape, stacked."""
    for _, run in groupby(pictures, np.shape):
        yield np.stack(list(run))


class Photographs(JudgedViews):
    """The test split of a data set of photographs, whose key points are those that it was prepared with."""

    def __init__(self, dataset: PersonDataset, detector: PoseDetector) -> None:
        super().__init__(dataset)
        self.detector = detector

    @property
    def note(self) -> str:
        """What finds the key points."""
        return f"Key points are found by {self.detector.name}; a picture in which nobody is found counts as 0."

    def judge(
        self, pairs: Sequence[ComparedPair], judged: JudgedPairs, store: ValueStore
    ) -> dict[str, np.ndarray | Needs]:
        """`pck`, `oks`: key points found in the picture against those asked for.

        OKS takes the area of the person's mask where the data set has one, else that of the box around the key points
        that count, which is larger. A key point that is not found is wrong, as all are where nobody is found.
        """
        what = f"keypoints {_VERSION} {self.detector.name}"
        made, real = values_of_pairs(pairs, judged, store, what, self._work)
        return dict.fromkeys(JUDGED, NOT_RENDERED) | _beside_real(("pck", "oks"), made, real)

    def _work(self, pictures: Sequence[np.ndarray], records: Sequence[ViewRecord]) -> np.ndarray:
        rows = [
            keypoint_values(_found(self.detector, picture), record, _area(record))
            for picture, record in zip(pictures, records, strict=True)
        ]
        return np.array(rows, np.float64)


class DetectedPeople(JudgedViews):
    """Rendered people whose poses a detector judges; outline and identity have the shipped judges."""

    def __init__(self, dataset: PersonDataset, detector: PoseDetector) -> None:
        super().__init__(dataset)
        self._shipped, self._poses = RenderedPeople(dataset), Photographs(dataset, detector)

    @property
    def note(self) -> str:
        """What finds the key points, and what the others stand on."""
        return f"{self._poses.note} {self._shipped.note}"

    def judge(
        self, pairs: Sequence[ComparedPair], judged: JudgedPairs, store: ValueStore
    ) -> dict[str, np.ndarray | Needs]:
        """As `RenderedPeople.judge`, with `pck` and `oks` as `Photographs.judge`."""
        found = self._poses.judge(pairs, judged, store)
        poses = {key: values for key, values in found.items() if not isinstance(values, Needs)}
        return self._shipped.judge(pairs, judged, store) | poses


def _found(detector: Callable[[Image.Image], Pose], picture: np.ndarray) -> np.ndarray:
    """Places (18, 2) of the key points, infinitely far away where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of several people the largest counts
            points = detector(Image.fromarray(picture)).keypoints
    except ValueError:  # nobody was found
        return np.full((18, 2), np.inf)
    return np.where(points[:, 2:] > 0, points[:, :2], np.inf)


def _area(record: ViewRecord) -> float:
    mask = record.foreground()
    if mask is not None:
        return float(mask.sum())
    counted = counted_points(record.keypoints, record.width, record.height)
    return float(np.ptp(record.keypoints[counted, :2], axis=0).prod()) if counted.any() else 0.0
