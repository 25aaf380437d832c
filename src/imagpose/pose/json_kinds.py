"""The kinds of JSON files that hold poses, one function each, recognised by what stands in them.

A function takes parsed JSON and gives what it holds, picture by picture, or None if it is another kind. Sources: the
formats' documentation (OpenPose, COCO, AlphaPose, MMPose, Ultralytics, MediaPipe, TensorFlow.js) and files of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from imagpose.pose.points import NOBODY, Person, Record, hand_points, person_of, short, stated_size

__all__ = ["JSON_KINDS", "from_array", "read_json"]

_PICTURE_KEYS = ("image_id", "image_name", "file_name", "image", "img_name", "imgname", "frame_id", "frame")
_WRAPPERS = ("frames", "results", "poses", "data", "detections", "openpose", "pose")
_LANDMARK_KEYS = ("pose_landmarks", "poseLandmarks", "landmarks", "keypoints", "landmark")
_WORLD_KEYS = ("pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks", "world_landmarks")


def read_json(data: Any) -> tuple[str, list[Record]] | None:
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
        found = read_json(data[key])
        if found is not None:
            size = stated_size(data, "the file")
            return found[0], [Record(record.people, record.size or size, record.name) for record in found[1]]
    return None


def _many(data: Any) -> tuple[str, list[Record]] | None:
    """A list with one entry a picture, or an object with one entry for each picture's name."""
    named = isinstance(data, Mapping)
    items = list(data.items()) if isinstance(data, Mapping) else [(None, item) for item in _list(data)]
    kinds: set[str] = set()
    records: list[Record] = []
    for name, item in items:
        if item is None or (isinstance(item, (list, Mapping)) and not item):
            records.append(Record(name=name))
            continue
        found = read_json(item) if isinstance(item, (list, Mapping)) else None
        if found is None or (named and len(found[1]) != 1):
            return None
        kinds.add(found[0])
        records += [Record(record.people, record.size, name) if named else record for record in found[1]]
    if not kinds:
        return None
    return f"{', '.join(sorted(kinds))}, {'by picture' if named else 'a list of frames'}", records


def _openpose(data: Any) -> list[Record] | None:
    """An object with `people`, each with `pose_keypoints_2d`; hands beside."""
    return _openpose_people(data, "people", "pose_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")


def _old_openpose(data: Any) -> list[Record] | None:
    """The same with the keys before OpenPose 1.3."""
    return _openpose_people(data, "people", "pose_keypoints", "hand_left_keypoints", "hand_right_keypoints")


def _alphapose_cmu(data: Any) -> list[Record] | None:
    """AlphaPose's `--format cmu`: `bodies`, each with `joints`."""
    return _openpose_people(data, "bodies", "joints", "hand_left", "hand_right")


def _openpose_people(data: Any, group: str, body: str, left: str, right: str) -> list[Record] | None:
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
    return [Record(_present(found), stated_size(data, "the file"))]


def _coco_annotations(data: Any) -> list[Record] | None:
    """COCO's annotations of key points: `images`, `annotations`, `categories`; hands of COCO-WholeBody."""
    if not (isinstance(data, Mapping) and isinstance(data.get("annotations"), list) and "images" in data):
        return None
    names = {
        _id(category.get("id"), "categories"): category["keypoints"]
        for category in _list(data.get("categories"))
        if isinstance(category, Mapping) and isinstance(category.get("keypoints"), list)
    }
    images = {
        _id(image["id"], "images"): image
        for image in _list(data["images"])
        if isinstance(image, Mapping) and "id" in image
    }
    people: dict[Any, list[Person]] = {image: [] for image in images}
    for index, item in enumerate(data["annotations"]):
        if not isinstance(item, Mapping) or "keypoints" not in item:
            continue
        where = f"annotations[{index}]"
        hands = hand_points(item.get("lefthand_kpts"), item.get("righthand_kpts"), f"{where}.lefthand_kpts")
        image, category = (_id(item.get(key), f"{where}.{key}") for key in ("image_id", "category_id"))
        person = person_of(item["keypoints"], where, names=names.get(category), hands=hands)
        people.setdefault(image, []).extend(_present([person]))
    return [
        Record(
            found, stated_size(images.get(image, {}), f"image {image}"), _name(images.get(image, {}).get("file_name"))
        )
        for image, found in people.items()
        if found
    ]


def _id(value: Any, where: str) -> Any:
    if isinstance(value, (list, Mapping)):
        raise ValueError(f"{where}: an id is a number, not {short(value)}")
    return value


def _mmpose_saved(data: Any) -> list[Record] | None:
    """MMPose's `save_pred` (`instance_info`), inferencer (`predictions`) and one frame (`instances`)."""
    if not isinstance(data, Mapping):
        return None
    group = next(
        (key for key in ("instance_info", "predictions", "instances") if isinstance(data.get(key), list)), None
    )
    if group is None:
        return None
    meta = data.get("meta_info")
    names = _mmpose_names(meta) if isinstance(meta, Mapping) else None
    size, items = stated_size(data, "the file"), data[group]
    if all(isinstance(item, Mapping) and "instances" in item for item in items):
        frames = [(item["instances"], _name(item.get("frame_id"))) for item in items]
    elif items and all(isinstance(item, list) for item in items):
        frames = [(item, None) for item in items]
    else:
        frames = [(items, _name(data.get("frame_id")))]
    return [Record(_instances(people, group, names), size, name) for people, name in frames]


def _instances(people: Any, where: str, names: list[str] | None) -> list[Person]:
    """MMPose's people, which may be nested once more."""
    flat = [one for item in _list(people) for one in (item if isinstance(item, list) else [item])]
    return _present([_result(person, f"{where}[{index}]", names) for index, person in enumerate(flat)])


def _mmpose_names(meta: Mapping[str, Any]) -> list[str] | None:
    by_id = meta.get("keypoint_id2name")
    if not isinstance(by_id, Mapping):
        return None
    try:
        return [str(by_id[key]) for key in sorted(by_id, key=int)]
    except ValueError:
        return None


def _ultralytics(data: Any) -> list[Record] | None:
    """Ultralytics' results: a list of people whose `keypoints` are the lists x, y and visible."""
    return _by_picture(data) if all(isinstance(one, Mapping) for one in _keypoints_of(data)) else None


def _mmpose_people(data: Any) -> list[Record] | None:
    """MMPose's inferencer: a list of people with `keypoints` and `keypoint_scores`."""
    return (
        _by_picture(data)
        if any("keypoint_scores" in item for item in _list(data) if isinstance(item, Mapping))
        else None
    )


def _coco_results(data: Any) -> list[Record] | None:
    """AlphaPose and COCO results: a list of people with flat `keypoints` and, mostly, an `image_id`."""
    return _by_picture(data)


def _keypoints_of(data: Any) -> list[Any]:
    """The `keypoints` of people in a list; [None] where it is no such list."""
    if not (isinstance(data, list) and data and all(isinstance(item, Mapping) for item in data)):
        return [None]
    return [item["keypoints"] for item in data if "keypoints" in item] or [None]


def _by_picture(data: Any) -> list[Record] | None:
    """People in a list, put together by the picture that they name; None where the list is another thing."""
    if _keypoints_of(data) == [None]:
        return None
    sizes = [stated_size(item, "the file") for item in data if "keypoints" in item]
    if any(sizes) and not any("orig_shape" in item for item in data):
        return None  # one entry a picture, not one a person
    people: dict[str | None, list[Person]] = {}
    for index, item in enumerate(data):
        picture = next((item[key] for key in _PICTURE_KEYS if key in item), None)
        group = people.setdefault(None if picture is None else str(picture), [])
        if "keypoints" in item:
            group.extend(_present([_result(item, f"[{index}].keypoints")]))
    return [Record(group, sizes[0], name) for name, group in people.items()]


def _result(item: Any, where: str, names: list[str] | None = None) -> Person | None:
    if not isinstance(item, Mapping) or "keypoints" not in item:
        raise ValueError(f"{where}: an object with 'keypoints' expected")
    scores = item.get("keypoint_scores", item.get("keypoints_scores"))
    return person_of(item["keypoints"], where, scores=scores, names=item.get("keypoint_names", names))


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
    return [Record(_present(people), stated_size(holder, "the file"), _name(holder.get("image_name")))]


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
    name = next((data[key] for key in _PICTURE_KEYS if key in data), None)
    return [Record(_present(people), stated_size(data, "the file"), _name(name))]


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
    return [Record(_present([person_of(one, "the array") for one in frame])) for frame in frames]


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
    return [Record(_present([person]))] if person is not None and person.layout.endswith("with names") else None


def _present(people: list[Person | None]) -> list[Person]:
    """Nobody stays nobody, so that people are counted as in the file."""
    return [NOBODY if person is None else person for person in people]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(value: Any) -> str | None:
    return None if value is None else str(value)


JSON_KINDS: tuple[tuple[str, Callable[[Any], list[Record] | None]], ...] = (
    ("OpenPose JSON", _openpose),
    ("OpenPose JSON before 1.3", _old_openpose),
    ("AlphaPose JSON (cmu)", _alphapose_cmu),
    ("COCO annotations", _coco_annotations),
    ("MMPose JSON", _mmpose_saved),
    ("Ultralytics JSON", _ultralytics),
    ("MMPose JSON (people)", _mmpose_people),
    ("AlphaPose or COCO results", _coco_results),
    ("landmarks (MediaPipe, TensorFlow.js)", _landmarks),
    ("an editor's JSON", _editor),
    ("points in JSON", _bare_points),
    ("points by name in JSON", _by_name),
)
