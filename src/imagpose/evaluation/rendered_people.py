"""What the judges say of pictures of rendered people: pose, silhouette and identity, each beside what real pictures get.

The judges (`judges`, `silhouette`) know rendered people only, so there are values only for data sets that
`imagpose prepare people` made, which their info.json says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from imagpose.data.dataset import PersonDataset
from imagpose.data.info import read_info
from imagpose.data.records import ViewRecord
from imagpose.evaluation.folders import Pair, refuse
from imagpose.evaluation.judges import (
    IDENTITY_WEIGHTS,
    POSE_WEIGHTS,
    embed_people,
    find_keypoints,
    first_ranks,
)
from imagpose.evaluation.keypoint_metrics import counted_points, oks, pck
from imagpose.evaluation.metrics import mask_iou
from imagpose.evaluation.networks import Needs
from imagpose.evaluation.parts import Files, Parts
from imagpose.evaluation.pixels import read_rgb
from imagpose.evaluation.silhouette import WEIGHTS as SILHOUETTE_WEIGHTS
from imagpose.evaluation.silhouette import find_foreground

__all__ = ["JUDGED", "JudgedPairs", "RenderedPeople", "judge_pairs", "open_rendered_people"]

JUDGED = ("pck", "oks", "iou", "rank1")
_VERSION = "1"  # of what is computed, for the values that are kept
_PART = 32
_SPLIT = "test"
_NO_DATA = Needs("needs the references' poses and people: a data set of rendered people (--data)")
_NOT_RENDERED = Needs("needs rendered people: a data set of imagpose prepare people; the judges know no photographs")


class RenderedPeople:
    """The test split of a data set of rendered people: what is true of each view, and the gallery of all."""

    def __init__(self, dataset: PersonDataset) -> None:
        self.dataset = dataset
        self._known: dict[str, ViewRecord] = {}

    def record(self, name: str) -> ViewRecord | None:
        """The view "<identity>/<view>"; None where the split has none of this name."""
        identity = name.rpartition("/")[0]
        if name not in self._known and identity in set(self.dataset.identities):
            self._known |= {f"{identity}/{own.view}": own for own in self.dataset.views(identity)}
        return self._known.get(name)

    @cached_property
    def gallery(self) -> tuple[np.ndarray, np.ndarray]:
        """Names (m,) of all views of the split, and their embeddings (m, 128)."""
        names, found = [], []
        for identity in track(self.dataset.identities, "gallery", console=Console(stderr=True)):
            records = self.dataset.views(identity)
            names += [f"{identity}/{own.view}" for own in records]
            found += [embed_people(run) for run in _equal_sizes([np.asarray(own.decode()) for own in records])]
        return np.array(names), np.concatenate(found)

    @property
    def note(self) -> str:
        """How large the gallery is, without which rank-1 says nothing."""
        views = int(self.dataset.view_counts.sum())
        return f"Identity: {views:,} real views of {len(self.dataset):,} people are searched."


@dataclass(frozen=True)
class JudgedPairs:
    """Which views some pairs are of.

    Attributes:
        people: the data set's.
        targets: per pair the view "<identity>/<view>" that was asked for.
        sources: per pair the views that were given; None where that is not known.
    """

    people: RenderedPeople
    targets: Sequence[str]
    sources: Sequence[Sequence[str]] | None = None


def open_rendered_people(folder: Path | None) -> RenderedPeople | Needs:
    """The people of a data set, or why they cannot be judged.

    Raises:
        FileNotFoundError, ValueError: as `PersonDataset`.
    """
    if folder is None:
        return _NO_DATA
    if read_info(folder).settings.get("command") != "people":
        return _NOT_RENDERED
    return RenderedPeople(PersonDataset(folder, _SPLIT))


def judge_pairs(pairs: Sequence[Pair], judged: JudgedPairs | Needs, parts: Parts) -> dict[str, np.ndarray | Needs]:
    """Per measure the values (pairs, samples), or what it needs.

    `pck`, `oks`: key points found in the picture against those asked for. `iou`: silhouette found in the picture against
    the renderer's mask. `rank1`: 1 where the nearest real view shows the right person; the target and its sources are
    left out of the gallery, and where the sources are not known the measure is called `rank1_open`. The same names with
    `_real`: the references in the generated pictures' place.

    Raises:
        ValueError: a reference that is no view of the data set, or of another size; damaged pictures.
    """
    if isinstance(judged, Needs):
        return dict.fromkeys(JUDGED, judged)
    _check(pairs, judged)
    samples = len(pairs[0].samples)
    shape = len(pairs), samples
    of_pair: dict[Path | None, str] = {
        pair.reference: target for pair, target in zip(pairs, judged.targets, strict=True)
    }
    what = f"people {_VERSION} {_weights()} {judged.people.dataset.info.plan}"
    work = partial(_judge, people=judged.people, targets=of_pair)
    items: list[Files] = [(sample, pair.reference) for pair in pairs for sample in pair.samples]
    references: list[Files] = [(pair.reference, pair.reference) for pair in pairs]
    made = parts.values(what, items, _PART, work, shared=False)
    real = parts.values(what, list(dict.fromkeys(references)), _PART, work, shared=False)
    place = {item: number for number, item in enumerate(dict.fromkeys(references))}
    real = real[[place[item] for item in references]]
    values: dict[str, np.ndarray | Needs] = {}
    for column, key in enumerate(("pck", "oks", "iou")):
        values[key] = made[:, column].reshape(shape)
        values[f"{key}_real"] = real[:, column, None].repeat(samples, 1)
    key = "rank1" if judged.sources is not None else "rank1_open"
    values[key] = _first_ranks(made[:, 3:].reshape(*shape, -1), judged)
    values[f"{key}_real"] = _first_ranks(real[:, None, 3:], judged).repeat(samples, 1)
    return values


def _check(pairs: Sequence[Pair], judged: JudgedPairs) -> None:
    records = [judged.people.record(target) for target in judged.targets]
    strangers = [target for target, record in zip(judged.targets, records, strict=True) if record is None]
    refuse(strangers, f"references that split {_SPLIT} of {judged.people.dataset.folder} has no view of")
    for pair, record in zip(pairs, records, strict=True):
        height, width = read_rgb(pair.reference).shape[:2]
        if record is not None and (width, height) != (record.width, record.height):
            raise ValueError(
                f"{pair.reference} has {width}x{height} pixels, the data set's view {record.width}x{record.height}"
            )


def _weights() -> str:
    digest = hashlib.sha256()
    for file in (POSE_WEIGHTS, IDENTITY_WEIGHTS, SILHOUETTE_WEIGHTS):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _judge(items: Sequence[Files], people: RenderedPeople, targets: dict[Path | None, str]) -> np.ndarray:
    """Rows of PCK, OKS, silhouette IoU and the embedding, of (picture, reference)."""
    pictures = [read_rgb(picture) for picture, _ in items]
    records = [people.record(targets[reference]) for _, reference in items]
    found = [
        one
        for run in _equal_sizes(pictures)
        for one in zip(find_keypoints(run), find_foreground(run), embed_people(run), strict=True)
    ]
    rows = [
        [*_of_view(points, outline, record), *embedding]
        for (points, outline, embedding), record in zip(found, records, strict=True)
    ]
    return np.array(rows, np.float64)


def _of_view(points: np.ndarray, outline: np.ndarray, record: ViewRecord | None) -> tuple[float, float, float]:
    assert record is not None  # `_check` has seen to it
    mask = record.foreground()
    assert mask is not None  # rendered people have one
    if outline.shape != mask.shape:
        raise ValueError(f"a picture of {outline.shape[1]}x{outline.shape[0]} pixels, another size than its reference")
    counted = counted_points(record.keypoints, record.width, record.height)
    similarity = oks(points, record.keypoints, counted, float(mask.sum()))
    return pck(points, record.keypoints, counted), similarity, mask_iou(outline, mask)


def _first_ranks(embeddings: np.ndarray, judged: JudgedPairs) -> np.ndarray:
    """1 or 0 per pair and sample, NaN where the gallery has no other view of the person."""
    names, gallery = judged.people.gallery
    owners = np.array([name.rpartition("/")[0] for name in names])
    wanted = np.array([target.rpartition("/")[0] for target in judged.targets])
    left_out = names[None] == np.array(judged.targets)[:, None]
    for number, sources in enumerate(judged.sources or ()):
        left_out[number] |= np.isin(names, sources)
    possible = ((owners[None] == wanted[:, None]) & ~left_out).any(axis=1)
    ranks = [first_ranks(own, wanted, gallery, owners, left_out) for own in embeddings.swapaxes(0, 1)]
    return np.where(possible[:, None], np.stack(ranks, 1).astype(np.float64), np.nan)


def _equal_sizes(pictures: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Neighbours of one shape, stacked."""
    for _, run in groupby(pictures, np.shape):
        yield np.stack(list(run))
