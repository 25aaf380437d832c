"""Photos of any shape framed around their person as DeepFashion frames its models: upright, the person nearly as high as the
picture; cut off where the photo cuts the person off.

Source: own. How far a person reaches beyond the key points was measured on rendered people: the crown 0.67 (median; 0.97 of
nine in ten) of the way from the neck to the farthest point of the face above the highest one, soles 0.08 of the height below
the ankles, hands, hair and clothes 0.4 (0.79) of that way to the sides.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from imagpose.pose import Pose, read_skeleton_picture
from imagpose.pose.detection import DEFAULT_DETECTOR, open_detector
from imagpose.pose.detector import PoseDetector

_FILL = 0.88  # of the picture's height, as the people are framed that mini was trained on
_AS_IT_IS = 0.75  # a frame of this share of the photo or more would change little
_CROWN, _SOLES, _SIDES = 0.8, 0.08, 0.5
_FEWEST_POINTS = 5
_NECK, _FACE, _ANKLES = 1, (0, 14, 15, 16, 17), (10, 13)
_ONE_AT_A_TIME = threading.Lock()  # the web page detects while a request is worked on
_REMEMBERED = 1024  # photos; their poses take some hundred kilobytes
_NOT_HERE = "poses are not detected here: the extra pose and its networks are missing (imagpose poses setup)"
_HEAD = 0.13  # of the spread of the key points, where neck or face are missing


@dataclass(frozen=True, eq=False)
class Framed:
    """A photo as the model gets it.

    Attributes:
        picture: the photo, or the part of it around the person.
        pose: of the person in it, where it is known.
        mask: of the person, where one was given.
        box: left, top, right, bottom of the part in the photo; None: the whole.
        pose_from: "given", the detector's name, or None.
    """

    picture: Image.Image
    pose: Pose | None
    mask: Image.Image | None
    box: tuple[int, int, int, int] | None
    pose_from: str | None


def frame_photo(picture: Image.Image, pose: Pose | None, mask: Image.Image | None, height: int, width: int) -> Framed:
    """The part of a photo that a view of `height` x `width` shows, found by the person's pose.

    Args:
        picture: RGB.
        pose: of the person; None: it is detected, where the detector is installed.
        mask: grey, of the picture's size.

    Returns:
        The whole photo where nobody is known to be in it, or where it is framed well already.
    """
    pose_from = "given"
    if pose is None:
        pose, pose_from = largest_person(picture), DEFAULT_DETECTOR
    if pose is None:
        return Framed(picture, None, mask, None, None)
    pose = pose.resize(*picture.size)
    box = person_box([pose], height / width)
    if box is None:
        return Framed(picture, pose, mask, None, pose_from)
    left, top, right, bottom = box
    cut = pose.crop(left, top, right - left, bottom - top)
    return Framed(picture.crop(box), cut, None if mask is None else mask.crop(box), box, pose_from)


def person_box(poses: Iterable[Pose], shape: float) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the part of the poses' frame around their person, in all frames of a still camera.

    Args:
        poses: in the photo's frame, or in those of a film.
        shape: height over width of the view.

    Returns:
        The box, within the frame and as near to `shape` as the frame allows; None where fewer than five points of each
        pose lie in the frame, or where the box is nearly the whole frame.
    """
    shown = [pose for pose in poses if np.count_nonzero(pose.inside) >= _FEWEST_POINTS]
    if not shown:
        return None
    reach = np.array([_reach(pose) for pose in shown])
    (left, top), (right, bottom) = reach[:, :2].min(0), reach[:, 2:4].max(0)
    is_whole, width, height = bool(reach[:, 4].all()), shown[0].width, shown[0].height
    high = float(bottom - top) / (_FILL if is_whole else (1 + _FILL) / 2)  # who is cut off has room above alone
    high = max(high, float(right - left) * shape)
    wide = high / shape
    x = max(0.0, min(float(left + right) / 2 - wide / 2, width - wide))
    y = max(0.0, min(float(top + bottom) / 2 - high / 2 if is_whole else float(bottom) - high, height - high))
    box = (x, y, min(x + wide, width), min(y + high, height))
    if (box[2] - box[0]) * (box[3] - box[1]) >= _AS_IT_IS * width * height:
        return None
    low_x, low_y, high_x, high_y = (round(float(side)) for side in box)
    return low_x, low_y, max(high_x, low_x + 1), max(high_y, low_y + 1)


def _reach(pose: Pose) -> tuple[float, float, float, float, bool]:
    """Left, top, right, bottom of a person with crown, soles, hands and clothes; whether the feet are in the frame."""
    points = pose.keypoints[pose.inside, :2]
    (left, top), (right, bottom) = points.min(0), points.max(0)
    head = _head(pose, float(bottom - top))
    top = max(top - _CROWN * head, 0)
    is_whole = bool(pose.inside[list(_ANKLES)].any())
    bottom = min(bottom + _SOLES * (bottom - top), pose.height) if is_whole else pose.height
    return max(left - _SIDES * head, 0), top, min(right + _SIDES * head, pose.width), bottom, is_whole


def largest_person(picture: Image.Image) -> Pose | None:
    """The pose of the largest person in a photo; None where nobody is found or no detector is installed."""
    people = detect_people(picture)
    return people[0] if people else None


def detect_people(picture: Image.Image) -> list[Pose] | None:
    """The poses of all people in a photo, the largest first; None where no detector is installed."""
    with _ONE_AT_A_TIME:
        detector = _detector()
        return None if detector is None else detector.people(picture)


def poses_in_picture(picture: Image.Image) -> tuple[list[Pose], str]:
    """The pose of a drawn skeleton, or those of the people in a photo, the largest first; and what a user should know.

    Raises:
        ValueError: it is neither.
    """
    try:
        pose, notes = read_skeleton_picture(picture)
    except ValueError:
        found, note = people_in_photo(picture)
        if not found:
            raise ValueError(f"neither a drawn skeleton nor a photo with a pose ({note})") from None
        return found, note
    return [pose], "; ".join(notes)


def people_in_photo(picture: Image.Image) -> tuple[list[Pose], str]:
    """The poses of the people in a photo, the largest first, if any; and what a user should know."""
    found = detect_people(picture)
    if found is None:
        return [], _NOT_HERE
    if not found:
        return [], "nobody was found in the photo"
    return found, f"{len(found)} people; the largest is taken" if len(found) > 1 else ""


class _Remembering:
    """A detector that knows the photos again that it saw last: many requests of a job are of one person.

    To detect takes 25 ms of a small picture, to know it again less than one.
    """

    def __init__(self, detector: PoseDetector) -> None:
        self._detector = detector
        self._found: OrderedDict[tuple[tuple[int, int], bytes], list[Pose]] = OrderedDict()

    def people(self, picture: Image.Image) -> list[Pose]:
        """As of the detector; from an RGB picture."""
        own = picture.size, hashlib.sha256(picture.tobytes()).digest()
        if own not in self._found:
            self._found[own] = self._detector.people(picture)
        self._found.move_to_end(own)
        if len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)
        return list(self._found[own])


def check_detector() -> None:
    """Raises `ValueError` where no detector is installed."""
    if _detector() is None:
        raise ValueError(_NOT_HERE)


@cache
def _detector() -> _Remembering | None:
    try:
        return _Remembering(open_detector(DEFAULT_DETECTOR))
    except (ValueError, OSError):  # its extra or its networks are not there
        return None


def _head(pose: Pose, spread: float) -> float:
    """Length from the neck to the farthest point of the face, pixels."""
    face = [index for index in _FACE if pose.visible[index]]
    if pose.visible[_NECK] and face:
        return float(np.linalg.norm(pose.keypoints[face, :2] - pose.keypoints[_NECK, :2], axis=1).max())
    return _HEAD * spread
