"""Which judges there are for a data set, and what they say of pairs of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagpose.data.dataset import PersonDataset
from imagpose.data.info import read_info
from imagpose.evaluation.folders import Pair
from imagpose.evaluation.judged_views import JUDGED, SPLIT, JudgedPairs, JudgedViews
from imagpose.evaluation.networks import Needs
from imagpose.evaluation.parts import Parts
from imagpose.evaluation.photographs import Photographs
from imagpose.evaluation.rendered_people import RenderedPeople
from imagpose.pose.detection import PoseDetector

__all__ = ["judge_pairs", "open_judged_views"]

_NO_DATA = Needs("needs the references' poses and people: a data set (--data)")
_NO_DETECTOR = Needs("needs rendered people, or for key points --detect")


def open_judged_views(folder: Path | None, detect: str | None = None) -> JudgedViews | Needs:
    """The views of a data set with their judges, or why there are none.

    Args:
        folder: the data set; None where it is not known.
        detect: "cpu" or "cuda": find key points in photographs, on this device.

    Raises:
        FileNotFoundError, ValueError, OSError: as `PersonDataset` and `PoseDetector`; or `detect` without a data set
            of photographs.
    """
    if folder is None:
        if detect is not None:
            raise ValueError("detect compares with the key points of a data set: name it (--data)")
        return _NO_DATA
    rendered = read_info(folder).settings.get("command") == "people"
    if rendered and detect is not None:
        raise ValueError(f"detect is for photographs; {folder} shows rendered people, who have judges of their own")
    if not rendered and detect is None:
        return _NO_DETECTOR
    dataset = PersonDataset(folder, SPLIT)
    return RenderedPeople(dataset) if detect is None else Photographs(dataset, PoseDetector(detect))


def judge_pairs(pairs: Sequence[Pair], judged: JudgedPairs | Needs, parts: Parts) -> dict[str, np.ndarray | Needs]:
    """Per measure the values (pairs, samples), or what it needs; see `JudgedViews.judge`."""
    return dict.fromkeys(JUDGED, judged) if isinstance(judged, Needs) else judged.views.judge(pairs, judged, parts)
