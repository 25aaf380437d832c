"""Points as files spell them: flat, in pairs, as objects, in columns, by name. Knows neither units nor frames.

What a file holds of a picture is a `Record` of `People`; `pose.reading` makes poses of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imagpose.pictures import MAX_SIDE
from imagpose.pose.keypoints import KEYPOINT_NAMES
from imagpose.pose.layouts import LAYOUTS, from_names, known_counts, to_body, to_hands

_CONFIDENCE_KEYS = ("confidence", "visibility", "score", "visible", "conf", "likelihood", "c", "v")
_NAME_KEYS = ("name", "part", "bodypart")
_SIZE_KEYS = (
    ("canvas_height", "canvas_width"), ("height", "width"), ("image_height", "image_width"),
    ("imageHeight", "imageWidth"), ("img_height", "img_width"),
)  # fmt: skip
_HAND_POINTS = 21
_MEDIAPIPE_COUNT = 33


@dataclass(frozen=True)
class Person:
    """One person as the file has it.

    Attributes:
        body: float64 (18, 3): x, y in the file's units, confidence; NaN where the file has nothing.
        layout: the order in which the file lists the points.
        hands: the same (2, 21, 3), left and right; None where the file has none.
        lists_neck: whether the layout has a neck; otherwise it is put between the shoulders.
    """

    body: np.ndarray
    layout: str
    hands: np.ndarray | None = None
    lists_neck: bool = True


NOBODY = Person(np.full((len(KEYPOINT_NAMES), 3), (np.nan, np.nan, 0.0)), "")


@dataclass(frozen=True)
class Record:
    """What a file says of one picture.

    Attributes:
        people: in the order of the file.
        size: height and width of the frame in pixels, None where the file does not say.
        name: of the picture, as the file gives it.
    """

    people: list[Person] = field(default_factory=list)
    size: tuple[int, int] | None = None
    name: str | None = None


def person_of(
    value: Any,
    where: str,
    *,
    scores: Any = None,
    names: Any = None,
    hands: np.ndarray | None = None,
) -> Person | None:
    """A person from any spelling of the points; None where there are none.

    Args:
        value: numbers in one list, lists of 2 to 4 numbers, objects with x and y, an object with the lists x and y, an
            object that has a point for each name, or an array of shape (n, 2 to 4).
        where: how messages call it.
        scores: confidences, where they stand apart.
        names: of the points, a list where the file gives them; their number says the order otherwise.
        hands: (2, 21, 3), where they stand apart.

    Raises:
        ValueError: not points, or a number of them that belongs to no known order.
    """
    points, own_names = _points(value, where)
    if not len(points):
        return None if hands is None else Person(NOBODY.body, "", hands)
    if scores is not None:
        points[:, 2] = _scores(scores, len(points), where)
    points[:, 2] = _confidences(points)
    known = from_names(own_names or _names(names, where))
    if known is not None and len(known) == len(points):
        return Person(to_body(points, known), f"{len(points)} points with names", hands, "neck" in known)
    layout = LAYOUTS.get(len(points))
    if layout is None:
        raise ValueError(f"{where}: {len(points)} points; known numbers are {known_counts()}")
    hands = to_hands(points, layout) if hands is None else hands
    return Person(to_body(points, layout.names), layout.name, hands, "neck" in layout.names)


def hand_points(left: Any, right: Any, where: str) -> np.ndarray | None:
    """Hands (2, 21, 3) from any spelling of 21 points each; None where both are absent or all zeros."""
    hands = np.full((2, _HAND_POINTS, 3), (np.nan, np.nan, 0.0))
    for side, value in enumerate((left, right)):
        points, _ = _points(value, where)
        if len(points) not in (0, _HAND_POINTS):
            raise ValueError(f"{where}: {len(points)} points of a hand; {_HAND_POINTS} expected")
        if len(points):
            hands[side] = points
            hands[side, :, 2] = _confidences(points)
    return hands if (hands[..., 2] > 0).any() and (np.nan_to_num(hands[..., :2]) != 0).any() else None


def stated_size(data: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """Height and width of the frame that an object states.

    Raises:
        ValueError: it states something that is no size.
    """
    shape = data.get("orig_shape")  # Ultralytics: height, width
    pairs = [(data.get(height), data.get(width)) for height, width in _SIZE_KEYS]
    if isinstance(shape, (list, tuple)) and len(shape) == 2:
        pairs.append((shape[0], shape[1]))
    for height, width in pairs:
        if height is None or width is None:
            continue
        for side in (height, width):
            if isinstance(side, bool) or not isinstance(side, (int, float)) or not 1 <= side <= MAX_SIDE:
                raise ValueError(
                    f"{where}: the frame is {short(height)} x {short(width)} (height x width); sides from 1 to {MAX_SIDE:,}"
                    " pixels expected"
                )
        return round(height), round(width)
    return None


def _points(value: Any, where: str) -> tuple[np.ndarray, list[str] | None]:
    """Points (n, 3) with confidence 1 where none is given, NaN where a point is null; and their names."""
    if value is None or (isinstance(value, (list, tuple, Mapping)) and not len(value)):
        return np.empty((0, 3)), None
    if isinstance(value, np.ndarray):
        return _rows(value.astype(np.float64), where), None
    if isinstance(value, Mapping):
        return _from_mapping(value, where)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where}: a list of points expected, not {short(value)}")
    first = next((item for item in value if item is not None), None)
    if isinstance(first, Mapping):
        points = np.array([_from_object(item, where) for item in value])
        names = [next((str(item[key]) for key in _NAME_KEYS if item and key in item), "") for item in value]
        return _rows(points, where), names if any(names) else None
    if isinstance(first, (list, tuple)):
        if len(value) == 1 and first and isinstance(first[0], (list, tuple, Mapping)):
            return _points(first, where)  # one person more deeply nested
        lengths = {len(item) if isinstance(item, (list, tuple)) else -1 for item in value if item is not None}
        longest = max(lengths)
        if not 2 <= longest <= 4 or not lengths <= {0, longest}:
            raise ValueError(f"{where}: points of 2 to 4 numbers expected, all of the same number")
        nothing = [None] * longest
        return _rows(_numbers([item or nothing for item in value], where).reshape(-1, longest), where), None
    return _rows(_unflattened(_numbers(value, where), where), where), None


def _from_mapping(value: Mapping[str, Any], where: str) -> tuple[np.ndarray, list[str] | None]:
    if isinstance(value.get("x"), (list, tuple)) and isinstance(value.get("y"), (list, tuple)):
        columns = [value["x"], value["y"]]
        columns += [value[key] for key in _CONFIDENCE_KEYS if isinstance(value.get(key), (list, tuple))][:1]
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"{where}: {len(value['x'])} x, {len(value['y'])} y: as many of each expected")
        return _rows(np.stack([_numbers(column, where) for column in columns], 1), where), None
    for key in ("xy", "xyn"):
        if key in value:
            points, _ = _points(value[key], where)
            if value.get("conf") is not None:
                points[:, 2] = _scores(value["conf"], len(points), where)
            return points, None
    by_name = [_from_object(item, where) if isinstance(item, Mapping) else item for item in value.values()]
    return _points(by_name, where)[0], list(value)


def _from_object(item: Any, where: str) -> list[float]:
    """x, y, confidence of an object; PoseNet's position lies one deeper."""
    if item is None:
        return [np.nan, np.nan, 0.0]
    place = item.get("position", item) if isinstance(item, Mapping) else None
    if not isinstance(place, Mapping) or "x" not in place or "y" not in place:
        raise ValueError(f"{where}: a point without x and y: {short(item)}")
    confidence = next((item[key] for key in _CONFIDENCE_KEYS if item.get(key) is not None), 1.0)
    numbers: list[float] = _numbers([place["x"], place["y"], confidence], where).tolist()
    return numbers


def _unflattened(numbers: np.ndarray, where: str) -> np.ndarray:
    """Points from numbers in one list: three a point if that gives a known order, else two, else four."""
    for size in (3, 2, 4):
        count, rest = divmod(len(numbers), size)
        if not rest and (count in LAYOUTS or count == _HAND_POINTS):
            return numbers.reshape(count, size)
    raise ValueError(f"{where}: {len(numbers)} values; 3 (or 2) a point expected, of points {known_counts()}")


def _rows(values: np.ndarray, where: str) -> np.ndarray:
    """Rows of 2 to 4 numbers as x, y, confidence; MediaPipe's depth is left out."""
    if values.ndim != 2 or not 2 <= values.shape[1] <= 4:
        raise ValueError(f"{where}: an array of shape {values.shape}; (points, 2 or 3) expected")
    if values.shape[1] == 2:
        return np.concatenate([values, np.ones((len(values), 1))], 1)
    last = values[:, -1].copy()
    missing = np.isnan(values[:, :2]).any(1) | (values[:, :2] == -1).all(1)
    if values.shape[1] == 3 and len(values) == _MEDIAPIPE_COUNT and _is_depth(last[~missing]):
        last = np.ones(len(values))
    elif ((last[~missing] < -0.1) & (last[~missing] != -1)).any():
        raise ValueError(f"{where}: the last number of a point is no confidence ({np.nanmin(last):g}); 0 to 1 expected")
    return np.column_stack([values[:, :2], np.nan_to_num(last)])


def _is_depth(values: np.ndarray) -> bool:
    """Depths are relative to the hips, so that both signs come."""
    return bool((np.nan_to_num(values) < 0).any())


def _confidences(points: np.ndarray) -> np.ndarray:
    """Confidences in 0..1; COCO's visibilities (0 missing, 1 hidden, 2 seen) become 0, 0.5 and 1."""
    values = np.nan_to_num(points[:, 2])
    if len(values) and set(values.tolist()) <= {0.0, 1.0, 2.0} and values.max() == 2:
        values = values / 2
    clipped: np.ndarray = values.clip(0, 1)
    return clipped


def _scores(values: Any, count: int, where: str) -> np.ndarray:
    """Confidences that stand apart from their `count` points."""
    scores = _numbers(values, where)
    if scores.size != count:
        raise ValueError(f"{where}: {scores.size} scores for {count} points")
    finite: np.ndarray = np.nan_to_num(scores.reshape(-1))
    return finite


def _names(names: Any, where: str) -> Sequence[str]:
    if names is None:
        return ()
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where}: a list of the points' names expected, not {short(names)}")
    return names


def _numbers(values: Any, where: str) -> np.ndarray:
    try:
        return np.array(values, np.float64)  # None becomes NaN
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: not numbers only: {short(values)}") from None


def short(value: Any) -> str:
    """A value of a file as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
