"""The kinds of JSON files that hold poses, one function each, recognised by what stands in them.

A function takes parsed JSON and gives what it holds, picture by picture, or None if it is another kind. Sources: the
formats' documentation (OpenPose, COCO, AlphaPose, MMPose, Ultralytics, MediaPipe, TensorFlow.js) and files of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from imagpose.pose.json_results import (
    PICTURE_KEYS,
    as_name,
    coco_annotations,
    coco_results,
    entries_of,
    mmpose_people,
    mmpose_saved,
    present,
    ultralytics,
)
from imagpose.pose.points import Record, hand_points, person_of, stated_size

_WRAPPERS = ("frames", "results", "poses", "data", "detections", "openpose", "pose")
_LANDMARK_KEYS = ("pose_landmarks", "poseLandmarks", "landmarks", "keypoints", "landmark")
_WORLD_KEYS = ("pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks", "world_landmarks")


def read_kind(data: Any) -> tuple[str, list[Record]] | None:
    """The name of the kind and what the file holds, or None for an unknown one.

    Raises:
        ValueError: of a known kind, but not as that kind should be; the message names the place.
    """
    for kind, read in JSON_KINDS:
        records = read(data)
        if records is not None:
            return kind, records
    keys = [key for key in _WRAPPERS if isinstance(data, Mapping) and isinstance(data.get(key), (list, Mapping))]
    wrapping = [key for key in keys if data[key]]
    # Nothing is read twice: where each level were, the time would double with it.
    return _wrapped(data, wrapping) if wrapping else _many(data)


def _wrapped(data: Mapping[str, Any], keys: list[str]) -> tuple[str, list[Record]] | None:
    """What lies below a key such as `frames`; the frame may stand beside it."""
    for key in keys:
        found = read_kind(data[key])
        if found is not None:
            size = stated_size(data, "the file")
            return found[0], [Record(record.people, record.size or size, record.name) for record in found[1]]
    return None


def _many(data: Any) -> tuple[str, list[Record]] | None:
    """A list with one entry a picture, or an object with one entry for each picture's name."""
    named = isinstance(data, Mapping)
    items = list(data.items()) if isinstance(data, Mapping) else [(None, item) for item in entries_of(data)]
    kinds: set[str] = set()
    records: list[Record] = []
    for name, item in items:
        if item is None or (isinstance(item, (list, Mapping)) and not item):
            records.append(Record(name=name))
            continue
        found = read_kind(item) if isinstance(item, (list, Mapping)) else None
        if found is None or (named and len(found[1]) != 1):
            return None
        kinds.add(found[0])
        records += [Record(record.people, record.size, name) if named else record for record in found[1]]
    if not kinds:
        return None
    return f"{', '.join(sorted(kinds))}, {'by picture' if named else 'a list of frames'}", records


def _openpose(data: Any, group: str, body: str, hand: str) -> list[Record] | None:
    """An object with `group`, a list of people, each with points of the `body`; hands under `hand` with their side."""
    left, right = (hand.format(side) for side in ("left", "right"))
    people = data.get(group) if isinstance(data, Mapping) else None
    if not isinstance(people, list):
        return None
    if people and not any(isinstance(person, Mapping) and body in person for person in people):
        return None
    found = []
    for index, person in enumerate(people):
        where = f"{group}[{index}]"
        if not isinstance(person, Mapping):
            raise ValueError(f"{where}: an object with {body!r} expected")
        hands = hand_points(person.get(left), person.get(right), f"{where}.{left}")
        found.append(person_of(person.get(body), f"{where}.{body}", hands=hands))
    return [Record(present(found), stated_size(data, "the file"))]


def _landmarks(data: Any) -> list[Record] | None:
    """MediaPipe's 33 landmarks, TensorFlow.js' key points with names: objects with x and y, of one person or more."""
    holder: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    value = next((holder[key] for key in _LANDMARK_KEYS if holder.get(key)), None if holder else data)
    if isinstance(value, Mapping) and "landmark" in value:
        value = value["landmark"]
    if not isinstance(value, list) or not value:
        if any(holder.get(key) for key in _WORLD_KEYS):
            raise ValueError("world landmarks are metres about the hips, in no picture: save pose_landmarks instead")
        return None
    if not holder and not _is_point(value[0]):
        return None  # one list a frame
    everyone = [value] if _is_point(value[0]) else value
    if not all(isinstance(one, list) and one and all(map(_is_point, one)) for one in everyone):
        return None
    hands = hand_points(
        _marks(holder.get("left_hand_landmarks")), _marks(holder.get("right_hand_landmarks")), "left_hand_landmarks"
    )
    people = [person_of(one, f"landmarks[{index}]", hands=hands) for index, one in enumerate(everyone)]
    return [Record(present(people), stated_size(holder, "the file"), as_name(holder.get("image_name")))]


def _marks(value: Any) -> Any:
    return value["landmark"] if isinstance(value, Mapping) and "landmark" in value else value


def _is_point(item: Any) -> bool:
    return isinstance(item, Mapping) and ("x" in item or "position" in item)


def _editor(data: Any) -> list[Record] | None:
    """`{width, height, keypoints}` of editors in the browser: points of one person, or a list of people."""
    if not (isinstance(data, Mapping) and isinstance(data.get("keypoints"), (list, Mapping)) and data["keypoints"]):
        return None
    value = data["keypoints"]
    if isinstance(value, list) and isinstance(value[0], list) and value[0] and isinstance(value[0][0], (list, Mapping)):
        people = [person_of(one, f"keypoints[{index}]") for index, one in enumerate(value)]
    else:
        scores = data.get("keypoint_scores", data.get("scores"))
        people = [person_of(value, "keypoints", scores=scores, names=data.get("keypoint_names"))]
    name = next((data[key] for key in PICTURE_KEYS if key in data), None)
    return [Record(present(people), stated_size(data, "the file"), as_name(name))]


def _bare_points(data: Any) -> list[Record] | None:
    """Nothing but points: (n, 2 or 3) numbers, or one such list for each frame."""
    if not isinstance(data, list) or not data or isinstance(data[0], Mapping):
        return None
    try:
        values = np.array(data, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return from_array(values) if values.ndim in (2, 3, 4) else None


def from_array(values: np.ndarray) -> list[Record]:
    """Points (n, 2 to 4) of one person, (frames, n, 2 to 4), or (frames, people, n, 2 to 4).

    Raises:
        ValueError: another shape.
    """
    if not 2 <= values.ndim <= 4 or 0 in values.shape:
        raise ValueError(f"an array of shape {values.shape}; (18, 2) or (18, 3) expected, or one for each frame")
    frames = values.reshape((1,) * (4 - values.ndim) + values.shape) if values.ndim != 3 else values[:, None]
    return [Record(present([person_of(one, "the array") for one in frame])) for frame in frames]


def _by_name(data: Any) -> list[Record] | None:
    """One person, each point under its name: `{"nose": [x, y, confidence], ...}`."""
    if not isinstance(data, Mapping) or len(data) < 8:
        return None
    values = list(data.values())
    if not all(isinstance(value, (list, Mapping)) and 2 <= len(value) <= 4 for value in values):
        return None
    try:
        person = person_of(data, "the file")
    except ValueError:
        return None
    return [Record(present([person]))] if person is not None and person.layout.endswith("with names") else None


JSON_KINDS: tuple[tuple[str, Callable[[Any], list[Record] | None]], ...] = (
    ("OpenPose JSON", partial(_openpose, group="people", body="pose_keypoints_2d", hand="hand_{}_keypoints_2d")),
    ("OpenPose JSON before 1.3", partial(_openpose, group="people", body="pose_keypoints", hand="hand_{}_keypoints")),
    ("AlphaPose JSON (cmu)", partial(_openpose, group="bodies", body="joints", hand="hand_{}")),
    ("COCO annotations", coco_annotations),
    ("MMPose JSON", mmpose_saved),
    ("Ultralytics JSON", ultralytics),
    ("MMPose JSON (people)", mmpose_people),
    ("AlphaPose or COCO results", coco_results),
    ("landmarks (MediaPipe, TensorFlow.js)", _landmarks),
    ("an editor's JSON", _editor),
    ("points in JSON", _bare_points),
    ("points by name in JSON", _by_name),
)
