"""What a set is enlarged by, and which generated pictures are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from imagpose.data.reid import ReidPicture, labels_of
from imagpose.evaluation.reid.evaluate import Embed, embed_files
from imagpose.evaluation.reid.wanted import CAMERAS
from imagpose.judges.pose import find_keypoints
from imagpose.metrics.keypoints import counted_points, pck
from imagpose.pose import Pose


@dataclass(frozen=True)
class Augmentation:
    """What is asked for; the command's options have the same names.

    Attributes:
        subset, seed: share of the real pictures that is used, see `data.reid.subset`; the seed also draws sources, donors
            and noise.
        per_identity: generated pictures of each identity; None: as many as fill the subset to the full set.
        camera: see `wanted.CAMERAS`.
        min_identity: least cosine to the person's nearest real picture; None: no bound. With a network, a picture whose
            nearest real picture shows somebody else is refused in any case.
        min_pose: least share of key points that are where they were asked for (PCK@0.1); None: no bound.
    """

    subset: float = 1.0
    seed: int = 0
    per_identity: int | None = None
    camera: str = "source"
    min_identity: float | None = None
    min_pose: float | None = None

    def check(self, has_network: bool) -> None:
        """Look at all of it but `subset`, which `data.reid.subset` looks at.

        Args:
            has_network: whether there is one that tells people apart.

        Raises:
            ValueError: a bound without a network, or a value out of its range.
        """
        if self.min_identity is not None and not has_network:
            raise ValueError("--min-identity needs a network that tells people apart: give --network")
        if self.per_identity is not None and self.per_identity < 1:
            raise ValueError(f"per_identity is {self.per_identity}; at least 1 expected")
        if self.camera not in CAMERAS:
            raise ValueError(f"camera is {self.camera!r}; one of {', '.join(CAMERAS)} expected")
        for name, least in (("min_identity", -1), ("min_pose", 0)):
            value = getattr(self, name)
            if value is not None and not least <= value <= 1:
                raise ValueError(f"{name} is {value}; {least} to 1 expected")


class Gate:
    """Looks at generated pictures: whom they show, and in which pose."""

    def __init__(self, asked: Augmentation, real: Sequence[ReidPicture], embed: Embed | None) -> None:
        self.asked, self.embed = asked, embed
        if embed is not None:
            self.features, self.owners = embed_files(embed, real), labels_of(real)[0]

    def scores(
        self, pictures: Sequence[Image.Image], identities: Sequence[int], poses: Sequence[Pose]
    ) -> list[dict[str, Any]]:
        """``likeness``, ``nearest`` and ``pose`` of each picture, as they stand in the manifest; pictures of one size."""
        found = find_keypoints(np.stack([np.asarray(own) for own in pictures]))
        values: list[dict[str, Any]] = []
        for points, picture, pose in zip(found, pictures, poses, strict=True):
            wanted = pose.fit(*picture.size).keypoints
            share = pck(points, wanted, counted_points(wanted, *picture.size))
            values.append({"pose": "" if np.isnan(share) else round(float(share), 3), "likeness": "", "nearest": ""})
        if self.embed is not None:
            nearness = self.embed(pictures) @ self.features.T
            for value, near, identity in zip(values, nearness, identities, strict=True):
                value["likeness"] = round(float(near[self.owners == identity].max()), 3)
                value["nearest"] = int(self.owners[near.argmax()])
        return values

    def refuses(self, identity: int, scores: Mapping[str, Any]) -> str:
        """Why a picture is refused: "identity", "pose", or nothing."""
        least, likeness = self.asked.min_identity, scores["likeness"]
        if self.embed is not None and (scores["nearest"] != identity or (least is not None and likeness < least)):
            return "identity"
        if self.asked.min_pose is not None and (scores["pose"] == "" or scores["pose"] < self.asked.min_pose):
            return "pose"
        return ""
