"""Key points of rendered people in space, in groups who make the same motions: what `imagpose.pose.retarget` is trained on.

Key points need no picture: a thousand of them take four seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from imagpose.people import make_identity, pose_motion, sample_motion
from imagpose.people.motion import KINDS
from imagpose.people.skinning import pose_identity
from imagpose.pose import LIMBS

__all__ = ["Groups", "load_groups", "make_groups"]


@dataclass(frozen=True, eq=False)
class Groups:
    """People in groups; all of a group make the same motions.

    Attributes:
        keypoints: float32 (groups, people, motions, 18, 3), metres: x to the left, y backwards, z up from the floor.
        heights: float32 (groups, people), of body and shoes at rest, metres.
        kinds: int (groups, motions), index into the names of `KINDS`.
    """

    keypoints: np.ndarray
    heights: np.ndarray
    kinds: np.ndarray

    @cached_property
    def lengths(self) -> np.ndarray:
        """float32 (groups, people, 17): logarithms of the bones' lengths over the height, less the means of all people."""
        first, second = ([limb[end] for limb in LIMBS] for end in (0, 1))
        bones = np.linalg.norm(self.keypoints[..., second, :] - self.keypoints[..., first, :], axis=-1).mean(2)
        logarithms = np.log(bones / self.heights[..., None])
        centred: np.ndarray = logarithms - logarithms.mean((0, 1))
        return centred


def make_groups(seeds: Sequence[int], groups: int, people: int, motions: int) -> Groups:
    """Draw groups of the identities of `seeds`, in their order; motions are drawn from the first seed of a group."""
    keypoints = np.zeros((groups, people, motions, 18, 3), np.float32)
    heights = np.zeros((groups, people), np.float32)
    kinds = np.zeros((groups, motions), np.int64)
    names = list(KINDS)
    for group in range(groups):
        of_group = seeds[group * people : (group + 1) * people]
        rng = np.random.default_rng([of_group[0], 0x3E7A])
        drawn = [sample_motion(rng, (names[rng.integers(len(names))],)) for _ in range(motions)]
        kinds[group] = [names.index(motion.kind) for motion in drawn]
        for person, seed in enumerate(of_group):
            identity = make_identity(seed)
            heights[group, person] = np.ptp(identity.rest_vertices[identity.carries, 2])
            for number, motion in enumerate(drawn):
                posture = pose_motion(identity, motion)
                keypoints[group, person, number] = pose_identity(identity, posture.rotations).keypoints
    return Groups(keypoints, heights, kinds)


def load_groups(file: Path, seeds: Sequence[int], groups: int, people: int, motions: int) -> Groups:
    """Groups from a file that is written if it does not exist."""
    if not file.exists():
        made = make_groups(seeds, groups, people, motions)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"keypoints": made.keypoints, "heights": made.heights, "kinds": made.kinds}, file)
    return Groups(**load_file(file))
