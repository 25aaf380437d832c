"""What the judges say of pictures of rendered people: pose, silhouette and identity, each beside what real pictures get.

The judges know rendered people only, so there are values only for data sets that
`imagpose prepare people` made, which their info.json says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby

import numpy as np
from rich.console import Console
from rich.progress import track

from imagpose.data.records import ViewRecord
from imagpose.evaluation.folders import Pair
from imagpose.evaluation.judged_views import JudgedPairs, JudgedViews, keypoint_values, values_of_pairs
from imagpose.evaluation.networks import Needs
from imagpose.evaluation.parts import Parts
from imagpose.judges.identity import IDENTITY_WEIGHTS, embed_people, first_ranks
from imagpose.judges.pose import POSE_WEIGHTS, find_keypoints
from imagpose.judges.silhouette import SILHOUETTE_WEIGHTS, find_foreground
from imagpose.metrics.pixels import mask_iou

__all__ = ["RenderedPeople", "judge_views"]

_VERSION = "1"  # of what is computed, for the values that are kept


class RenderedPeople(JudgedViews):
    """The test split of a data set of rendered people: what is true of each view, and the gallery of all."""

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

    def judge(self, pairs: Sequence[Pair], judged: JudgedPairs, parts: Parts) -> dict[str, np.ndarray | Needs]:
        """`pck`, `oks`: key points found in the picture against those asked for. `iou`: silhouette found in the picture
        against the renderer's mask. `rank1`: 1 where the nearest real view shows the right person; the target and its
        sources are left out of the gallery, and where the sources are not known the measure is called `rank1_open`.
        """
        made, real = values_of_pairs(pairs, judged, parts, f"people {_VERSION} {_weights()}", judge_views)
        samples = made.shape[1]
        values: dict[str, np.ndarray | Needs] = {}
        for column, key in enumerate(("pck", "oks", "iou")):
            values[key] = made[..., column]
            values[f"{key}_real"] = real[:, column, None].repeat(samples, 1)
        key = "rank1" if judged.sources is not None else "rank1_open"
        values[key] = self._first_ranks(made[..., 3:], judged)
        values[f"{key}_real"] = self._first_ranks(real[:, None, 3:], judged).repeat(samples, 1)
        return values

    def _first_ranks(self, embeddings: np.ndarray, judged: JudgedPairs) -> np.ndarray:
        """1 or 0 per pair and sample, NaN where the gallery has no other view of the person."""
        names, gallery = self.gallery
        owners = np.array([name.rpartition("/")[0] for name in names])
        wanted = np.array([target.rpartition("/")[0] for target in judged.targets])
        left_out = names[None] == np.array(judged.targets)[:, None]
        for number, sources in enumerate(judged.sources or ()):
            left_out[number] |= np.isin(names, sources)
        possible = ((owners[None] == wanted[:, None]) & ~left_out).any(axis=1)
        ranks = [first_ranks(own, wanted, gallery, owners, left_out) for own in embeddings.swapaxes(0, 1)]
        return np.where(possible[:, None], np.stack(ranks, 1).astype(np.float64), np.nan)


def _weights() -> str:
    digest = hashlib.sha256()
    for file in (POSE_WEIGHTS, IDENTITY_WEIGHTS, SILHOUETTE_WEIGHTS):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def judge_views(pictures: Sequence[np.ndarray], records: Sequence[ViewRecord]) -> np.ndarray:
    """Rows of PCK, OKS, silhouette IoU and the embedding (n, 3 + 128) of pictures uint8 (H, W, 3) of some views."""
    found = [
        one
        for run in _equal_sizes(pictures)
        for one in zip(find_keypoints(run), find_foreground(run), embed_people(run), strict=True)
    ]
    rows = []
    for (points, outline, embedding), record in zip(found, records, strict=True):
        mask = record.foreground()
        assert mask is not None  # rendered people have one
        rows.append([*keypoint_values(points, record, float(mask.sum())), mask_iou(outline, mask), *embedding])
    return np.array(rows, np.float64)


def _equal_sizes(pictures: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Neighbours of one shape, stacked."""
    for _, run in groupby(pictures, np.shape):
        yield np.stack(list(run))
