"""Whether people in generated photographs take the pose that was asked for: key points found again by RTMPose.

Needs the extra `pose` and its networks, see `pose.detection`. Outlines and identities of photographs are not judged: the
networks that ship for that know rendered people only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.records import ViewRecord
from imagpose.evaluation.folders import Pair
from imagpose.evaluation.judged_views import JUDGED, JudgedPairs, JudgedViews, keypoint_values, values_of_pairs
from imagpose.evaluation.networks import Needs
from imagpose.evaluation.parts import Parts
from imagpose.metrics.keypoints import counted_points
from imagpose.pose.detection import PoseDetector
from imagpose.pose.keypoints import Pose

__all__ = ["NOT_RENDERED", "Photographs"]

NOT_RENDERED = Needs("needs rendered people: a data set of imagpose prepare people; the judges know no photographs")
_VERSION = "1"  # of what is computed, for the values that are kept


class Photographs(JudgedViews):
    """The test split of a data set of photographs, whose key points are those that it was prepared with."""

    def __init__(self, dataset: PersonDataset, detector: PoseDetector) -> None:
        super().__init__(dataset)
        self.detector = detector

    @property
    def note(self) -> str:
        """What finds the key points."""
        return f"Key points are found by {self.detector.name}; a picture in which nobody is found counts as 0."

    def judge(self, pairs: Sequence[Pair], judged: JudgedPairs, parts: Parts) -> dict[str, np.ndarray | Needs]:
        """`pck`, `oks`: key points found in the picture against those asked for.

        OKS takes the area of the person's mask where the data set has one, else that of the box around the key points
        that count, which is larger. A key point that is not found is wrong, as all are where nobody is found.
        """
        what = f"keypoints {_VERSION} {self.detector.name}"
        made, real = values_of_pairs(pairs, judged, parts, what, self._work)
        values: dict[str, np.ndarray | Needs] = dict.fromkeys(JUDGED, NOT_RENDERED)
        for column, key in enumerate(("pck", "oks")):
            values[key] = made[..., column]
            values[f"{key}_real"] = real[:, column, None].repeat(made.shape[1], 1)
        return values

    def _work(self, pictures: Sequence[np.ndarray], records: Sequence[ViewRecord]) -> np.ndarray:
        rows = [
            keypoint_values(_found(self.detector, picture), record, _area(record))
            for picture, record in zip(pictures, records, strict=True)
        ]
        return np.array(rows, np.float64)


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
