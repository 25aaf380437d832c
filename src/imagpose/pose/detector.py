"""What every pose detector gives, whichever networks it runs."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from PIL import Image

from imagpose.io import cache_folder
from imagpose.pose.keypoints import Pose

USABLE_POINTS = 9
"""So many of the 18 key points must be sure for a crop's pose to be usable."""


class PoseDetector(ABC):
    """Finds poses in pictures.

    Attributes:
        name: of the networks, which decide what is found.
    """

    name: str

    @abstractmethod
    def people(self, picture: Image.Image) -> list[Pose]:
        """The poses of all people in a picture, the largest first; poses are in the picture's frame."""

    @abstractmethod
    def in_crop(self, picture: Image.Image) -> Pose | None:
        """The pose of the one person that a picture was cut out around; None where no pose can be found.

        No person is looked for, so that it also works where pictures are too small or too blurred for that.
        """

    def __call__(self, picture: Image.Image) -> Pose:
        """The pose of the largest person in a picture, in the picture's frame.

        Raises:
            ValueError: nobody was found.

        Warns:
            UserWarning: there are several people.
        """
        people = self.people(picture)
        if not people:
            raise ValueError("nobody was found in the picture")
        if len(people) > 1:
            warnings.warn(f"{len(people)} people in the picture; the largest is taken", UserWarning, stacklevel=2)
        return people[0]


def largest_first(poses: list[Pose]) -> list[Pose]:
    """Poses by the longer side of the box around their key points."""
    return sorted(poses, key=lambda pose: -float(np.ptp(pose.keypoints[pose.visible, :2], axis=0).max()))


def networks_folder() -> Path:
    """Where the files of networks lie, and can be put by hand: ``pose`` in `io.cache_folder`."""
    return cache_folder() / "pose"
