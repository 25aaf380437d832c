"""JSON of estimators and data sets: COCO, AlphaPose, MMPose, Ultralytics; people in lists, put together by picture.

A function takes parsed JSON and gives what it holds, picture by picture, or None if it is another kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagpose.pose.points import NOBODY, Person, Record, hand_points, person_of, short, stated_size

PICTURE_KEYS = ("image_id", "image_name", "file_name", "image", "img_name", "imgname", "frame_id", "frame")


def coco_annotations(data: Any) -> list[Record] | None:
    """COCO's annotations of key points: `images`, `annotations`, `categories`; hands of COCO-WholeBody."""
    if not (isinstance(data, Mapping) and isinstance(data.get("annotations"), list) and "images" in data):
        return None
    names = {
        _id(category.get("id"), "categories"): category["keypoints"]
        for category in entries_of(data.get("categories"))
        if isinstance(category, Mapping) and isinstance(category.get("keypoints"), list)
    }
    images = {
        _id(image["id"], "images"): image
        for image in entries_of(data["images"])
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
        people.setdefault(image, []).extend(present([person]))
    return [
        Record(
            found, stated_size(images.get(image, {}), f"image {image}"), as_name(images.get(image, {}).get("file_name"))
        )
        for image, found in people.items()
        if found
    ]


def _id(value: Any, where: str) -> Any:
    if isinstance(value, (list, Mapping)):
        raise ValueError(f"{where}: an id is a number, not {short(value)}")
    return value


def mmpose_saved(data: Any) -> list[Record] | None:
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
        frames = [(item["instances"], as_name(item.get("frame_id"))) for item in items]
    elif items and all(isinstance(item, list) for item in items):
        frames = [(item, None) for item in items]
    else:
        frames = [(items, as_name(data.get("frame_id")))]
    return [Record(_instances(people, group, names), size, name) for people, name in frames]


def _instances(people: Any, where: str, names: list[str] | None) -> list[Person]:
    """MMPose's people, which may be nested once more."""
    flat = [one for item in entries_of(people) for one in (item if isinstance(item, list) else [item])]
    return present([_result(person, f"{where}[{index}]", names) for index, person in enumerate(flat)])


def _mmpose_names(meta: Mapping[str, Any]) -> list[str] | None:
    by_id = meta.get("keypoint_id2name")
    if not isinstance(by_id, Mapping):
        return None
    try:
        return [str(by_id[key]) for key in sorted(by_id, key=int)]
    except ValueError:
        return None


def ultralytics(data: Any) -> list[Record] | None:
    """Ultralytics' results: a list of people whose `keypoints` are the lists x, y and visible."""
    people = _people_in(data)
    return _by_picture(data) if people and all(isinstance(one["keypoints"], Mapping) for one in people) else None


def mmpose_people(data: Any) -> list[Record] | None:
    """MMPose's inferencer: a list of people with `keypoints` and `keypoint_scores`."""
    return _by_picture(data) if any("keypoint_scores" in one for one in _people_in(data)) else None


def coco_results(data: Any) -> list[Record] | None:
    """AlphaPose and COCO results: a list of people with flat `keypoints` and, mostly, an `image_id`."""
    return _by_picture(data)


def _people_in(data: Any) -> list[Mapping[str, Any]]:
    """The entries with `keypoints` of a list of objects; none where it is no such list."""
    is_list = isinstance(data, list) and all(isinstance(item, Mapping) for item in data)
    return [item for item in data if "keypoints" in item] if is_list else []


def _by_picture(data: Any) -> list[Record] | None:
    """People in a list, put together by the picture that they name; None where the list is another thing."""
    sizes = [stated_size(person, "the file") for person in _people_in(data)]
    if not sizes:
        return None
    if any(sizes) and not any("orig_shape" in item for item in data):
        return None  # one entry a picture, not one a person
    people: dict[str | None, list[Person]] = {}
    for index, item in enumerate(data):
        picture = next((item[key] for key in PICTURE_KEYS if key in item), None)
        group = people.setdefault(as_name(picture), [])
        if "keypoints" in item:
            group.extend(present([_result(item, f"[{index}].keypoints")]))
    return [Record(group, sizes[0], name) for name, group in people.items()]


def _result(item: Any, where: str, names: list[str] | None = None) -> Person | None:
    if not isinstance(item, Mapping) or "keypoints" not in item:
        raise ValueError(f"{where}: an object with 'keypoints' expected")
    scores = item.get("keypoint_scores", item.get("keypoints_scores"))
    return person_of(item["keypoints"], where, scores=scores, names=item.get("keypoint_names", names))


def present(people: list[Person | None]) -> list[Person]:
    """Nobody stays nobody, so that people are counted as in the file."""
    return [NOBODY if person is None else person for person in people]


def entries_of(value: Any) -> list[Any]:
    """A list as it is; nothing of anything else, which files hold in its place."""
    return value if isinstance(value, list) else []


def as_name(value: Any) -> str | None:
    return None if value is None else str(value)
