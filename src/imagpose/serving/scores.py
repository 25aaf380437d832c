"""Scores of generated pictures that need no truth: the pose asked for, likeness to the sources, sharpness.

The judges behind them were trained on rendered people; of photographs they know nothing, and their scores there only
compare pictures of one request with each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from imagpose.metrics.detail import gradient_energy
from imagpose.metrics.keypoints import counted_points, pck
from imagpose.pictures import fit_view
from imagpose.pose import Pose


@dataclass(frozen=True)
class Scores:
    """Of one picture.

    Attributes:
        pose: PCK@0.1 of the pose that is found in it against the one asked for, 0..1; None where fewer than two points
            were asked for inside the picture.
        likeness: cosine, -1..1, between the identity judge's vectors of the picture and of the source that is nearest.
        sharpness: gradient energy of the person relative to the sources' (mean); 1: as sharp as they are. None where
            nobody is found.
    """

    pose: float | None
    likeness: float
    sharpness: float | None

    @property
    def score(self) -> float:
        """By which pictures of one pose are compared: pose times likeness, 0..1; both must be right."""
        return (1.0 if self.pose is None else self.pose) * max(self.likeness, 0.0)

    def record(self) -> dict[str, float | None]:
        """For result.json, to three digits."""
        values = {"score": self.score, **asdict(self)}
        return {name: None if value is None else round(value, 3) for name, value in values.items()}


def score_pictures(
    pictures: Sequence[Image.Image], poses: Sequence[Pose], sources: Sequence[Image.Image]
) -> list[Scores]:
    """Look at generated pictures.

    Args:
        pictures: RGB, all of one size.
        poses: the one asked for of each, in any frame.
        sources: photos of the person, of any size.
    """
    from imagpose.judges.identity import embed_people
    from imagpose.judges.pose import find_keypoints
    from imagpose.judges.silhouette import find_foreground

    width, height = pictures[0].size
    drawn = np.stack([np.asarray(picture) for picture in pictures])
    given = np.stack([np.asarray(fit_view(source, width, height)) for source in sources])
    asked = [pose.fit(width, height).keypoints for pose in poses]
    shares = [
        pck(found, wanted, counted_points(wanted, width, height))
        for found, wanted in zip(find_keypoints(drawn), asked, strict=True)
    ]
    likeness = (embed_people(drawn) @ embed_people(given).T).max(axis=1)
    detail, detail_given = (
        [gradient_energy(own, mask) for own, mask in zip(group, find_foreground(group), strict=True)]
        for group in (drawn, given)
    )
    known = [value for value in detail_given if math.isfinite(value)]
    reference = float(np.mean(known)) if known else math.nan
    return [
        Scores(_known(share), float(like), _known(energy / reference if reference else math.nan))
        for share, like, energy in zip(shares, likeness, detail, strict=True)
    ]


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
