"""What the three judges say of a batch in memory, beside what they say of the truth, for what watches a training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagpose.judges.identity import embed_people, first_ranks
from imagpose.judges.pose import find_keypoints
from imagpose.judges.silhouette import find_foreground
from imagpose.metrics.keypoints import counted_points, pck
from imagpose.metrics.pixels import mask_iou

__all__ = ["JudgedPeople"]


@dataclass(frozen=True, eq=False)
class JudgedPeople:
    """n views that generated pictures should show, and a gallery of m real views among which each person is searched.

    Attributes:
        truths: uint8 (n, H, W, 3).
        masks: bool (n, H, W), where the truth shows the person.
        keypoints: (n, 18, 3): x, y in pixels, confidence.
        people: (n,) whom each view shows.
        gallery: uint8 (m, H, W, 3), neither the sources nor the truths; it shows every person of `people`.
        owners: (m,) whom it shows.
    """

    truths: np.ndarray
    masks: np.ndarray
    keypoints: np.ndarray
    people: Sequence
    gallery: np.ndarray
    owners: Sequence

    def __post_init__(self) -> None:
        """Raises ValueError where the numbers differ or a person is not in the gallery."""
        counts = [len(own) for own in (self.truths, self.masks, self.keypoints, self.people)]
        if len(set(counts)) > 1 or len(self.gallery) != len(self.owners) or not counts[0]:
            raise ValueError(
                f"{counts} truths, masks, key points and people, {len(self.gallery)} gallery pictures of"
                f" {len(self.owners)} owners; as many of each expected, at least one"
            )
        absent = set(self.people) - set(self.owners)
        if absent:
            raise ValueError(f"the gallery does not show {len(absent)} of the people, first {min(absent)}")

    def measure(self, outputs: np.ndarray) -> dict[str, float]:
        """Means over pictures uint8 (n, H, W, 3), in the order of `truths`.

        Returns:
            ``pck`` (PCK@0.1) and ``rank1``, each with ``_relative``, the same over what the truth gets, and ``iou`` of
            the silhouette found and the mask.
        """
        if outputs.shape != self.truths.shape:
            raise ValueError(
                f"outputs have the shape {outputs.shape}; that of the truths, {self.truths.shape}, expected"
            )
        gallery = embed_people(self.gallery)
        made, real = (self._found(pictures, gallery) for pictures in (outputs, self.truths))
        outlines = zip(find_foreground(outputs), self.masks, strict=True)
        relative = {f"{name}_relative": made[name] / real[name] if real[name] else float("nan") for name in made}
        return made | relative | {"iou": float(np.mean([mask_iou(*pair) for pair in outlines]))}

    def _found(self, pictures: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
        height, width = pictures.shape[1:3]
        shares = [
            pck(found, asked, counted_points(asked, width, height))
            for found, asked in zip(find_keypoints(pictures), self.keypoints, strict=True)
        ]
        nobody = np.zeros((len(pictures), len(gallery)), bool)
        ranks = first_ranks(embed_people(pictures), np.array(self.people), gallery, np.array(self.owners), nobody)
        return {"pck": float(np.nanmean(shares)), "rank1": float(ranks.mean())}
