"""Poses in files: OpenPose JSON, COCO-17 lists, the field's annotation CSV and PIDM-style text.

Sources: OpenPose's output format (BODY_25, COCO), ControlNet / DWPose exports (``canvas_width``), PATN's annotation CSV
(``name:keypoints_y:keypoints_x``, -1 missing), PIDM's pose text (18 lines ``x y``, -1 missing).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagpose.io import write_text
from imagpose.pose.keypoints import KEYPOINT_NAMES, Pose

__all__ = [
    "from_coco17", "from_openpose", "read_annotation_csv", "read_pose", "read_txt", "to_openpose",
    "write_annotation_csv", "write_openpose_json", "write_txt",
]  # fmt: skip

_NUM_KEYPOINTS = len(KEYPOINT_NAMES)
# Index in BODY_25 of each of our 18 key points: BODY_25 has the middle of the hips at 8 and six points of the feet.
_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
# Index in COCO-17 of each of our key points but the neck.
_COCO_17 = (0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_NECK, _SHOULDERS = 1, (2, 5)
_ALL_BUT_NECK = tuple(index for index in range(_NUM_KEYPOINTS) if index != _NECK)
_CSV_HEADER = "name:keypoints_y:keypoints_x"
_LARGEST_FILE = 50_000_000
_FARTHEST = 100_000


def read_pose(path: str | Path, size: tuple[int, int] | None = None) -> Pose:
    """The pose in a file: OpenPose JSON (``.json``) or PIDM-style text (``.txt``).

    Args:
        path: the file.
        size: width and height of its frame in pixels, used where the file does not say. Without either, the frame
            starts at the origin and ends right of and below the outermost found points by a tenth of the person's
            height.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read as a pose, or shows no key point inside the frame; one line naming the file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return from_openpose(_load_json(path), size, str(path))
    if suffix == ".txt":
        return read_txt(path, size)
    raise ValueError(f"{path}: a pose is an OpenPose .json or an 18-line .txt, not {suffix or 'a file without ending'}")


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"pose file not found: {path}")
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path}: larger than {_LARGEST_FILE // 1_000_000} MB, not a pose file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None


def _load_json(path: Path) -> Any:
    text = _read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError also for whole numbers of thousands of digits
        raise ValueError(f"{path}: not valid JSON ({error})") from None


def from_openpose(data: Any, size: tuple[int, int] | None = None, name: str = "pose") -> Pose:
    """The largest person of an OpenPose result.

    Args:
        data: parsed JSON: an object with ``people`` (or a list with one such object, as ControlNet tools export), each
            with ``pose_keypoints_2d`` of 25 (BODY_25) or 18 (COCO) points x, y, confidence. ``canvas_width`` and
            ``canvas_height`` give the frame; coordinates that all lie in [0, 1] are then fractions of it.
        size: width and height of the frame, where `data` does not say; without either as in `read_pose`.
        name: what error messages call it.

    Raises:
        ValueError: no people, another number of values, fractions without a frame, no key point inside the frame.

    Warns:
        UserWarning: several people, of whom the one with the largest bounding box is taken.
    """
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    people = data.get("people") if isinstance(data, Mapping) else None
    if not isinstance(people, list):
        raise ValueError(f"{name}: not the OpenPose result of one picture: an object with a list 'people' expected")
    everyone = [_person(person, f"{name}: people[{index}]") for index, person in enumerate(people)]
    candidates = [points for points in everyone if (points[:, 2] > 0).any()]
    if not candidates:
        raise ValueError(f"{name}: no people in the pose file; one person with found key points expected")
    if len(candidates) > 1:
        warnings.warn(f"{name}: {len(candidates)} people; the largest is used", stacklevel=2)
    points = max(candidates, key=_extent)
    frame = _canvas(data, name) or size
    if np.abs(points[points[:, 2] > 0, :2]).max() <= 1.0:
        if frame is None:
            raise ValueError(
                f"{name}: coordinates are fractions of a frame that is not stated (no canvas_width, canvas_height)"
            )
        points[:, :2] *= frame
    return _checked(points, frame, name)


def _canvas(data: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    """Width and height of the frame that a file states."""
    if "canvas_width" not in data or "canvas_height" not in data:
        return None
    width, height = data["canvas_width"], data["canvas_height"]
    if not all(isinstance(side, (int, float)) and 1 <= side <= _FARTHEST for side in (width, height)):
        raise ValueError(
            f"{name}: canvas_width and canvas_height must be numbers of pixels, not {width!r} and {height!r}"
        )
    return int(width), int(height)


def _person(person: Any, name: str) -> np.ndarray:
    """Key points (18, 3) of one entry of ``people``; all missing where only hands or a face were found."""
    if not isinstance(person, Mapping) or not isinstance(person.get("pose_keypoints_2d"), (list, type(None))):
        raise ValueError(f"{name}: an object with a list 'pose_keypoints_2d' expected")
    values = person.get("pose_keypoints_2d")
    if not values:
        return np.zeros((_NUM_KEYPOINTS, 3), np.float32)
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: 'pose_keypoints_2d' holds something that is not a number") from None
    if numbers.shape not in ((25 * 3,), (_NUM_KEYPOINTS * 3,)):
        raise ValueError(f"{name}: {len(values)} values in 'pose_keypoints_2d'; 75 (BODY_25) or 54 (COCO_18) expected")
    if not (np.abs(numbers) <= _FARTHEST).all():  # also where a value is not a number
        raise ValueError(f"{name}: 'pose_keypoints_2d' holds a value that is not finite or beyond {_FARTHEST:,} pixels")
    points = numbers.reshape(-1, 3)
    if len(points) == 25:
        points = points[list(_BODY_25)]
    points[:, 2] = points[:, 2].clip(0, 1)
    return points.astype(np.float32)


def _extent(points: np.ndarray) -> float:
    """Area of the bounding box of the found points."""
    found = points[points[:, 2] > 0, :2]
    return float(np.prod(found.max(0) - found.min(0) + 1))


def _frame_around(points: np.ndarray) -> tuple[int, int]:
    """Width and height of the frame of points whose file states none, see `read_pose`."""
    found = points[points[:, 2] > 0, :2]
    margin = 0.1 * float(found[:, 1].max() - found[:, 1].min())
    width, height = np.ceil(found.max(0) + margin).clip(1)
    return int(width), int(height)


def _checked(points: np.ndarray, frame: tuple[int, int] | None, name: str) -> Pose:
    if not points[:, 2].any():
        raise ValueError(f"{name}: all key points are missing")
    frame = frame or _frame_around(points)
    try:
        pose = Pose(points, *frame)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not pose.inside.any():
        raise ValueError(f"{name}: no key point lies inside the frame of {frame[0]}x{frame[1]} pixels")
    return pose


def to_openpose(pose: Pose) -> dict[str, Any]:
    """OpenPose result (COCO_18) with the frame's size; missing points are 0, 0, 0."""
    points = np.where(pose.keypoints[:, 2:] > 0, pose.keypoints, 0.0)
    values = [round(float(value), 3) for value in points.ravel()]
    return {
        "version": 1.3,
        "canvas_width": pose.width,
        "canvas_height": pose.height,
        "people": [{"person_id": [-1], "pose_keypoints_2d": values}],
    }


def write_openpose_json(pose: Pose, path: str | Path) -> None:
    """Write a pose as OpenPose JSON, see `to_openpose`."""
    write_text(Path(path), json.dumps(to_openpose(pose)) + "\n")


def from_coco17(keypoints: Sequence[Sequence[float]] | np.ndarray, width: int, height: int) -> Pose:
    """A pose from 17 COCO key points; the neck becomes the middle of the shoulders.

    Args:
        keypoints: (17, 3) x, y, confidence, or (17, 2) with all points found; or flat, 51 or 34 values.
        width, height: the frame in pixels.

    Raises:
        ValueError: another number of values.
    """
    values = np.asarray(keypoints, np.float32)
    if values.size not in (51, 34):
        raise ValueError(f"{values.size} values; 17 COCO key points have 51 (x, y, confidence) or 34 (x, y)")
    values = values.reshape(17, -1)
    if values.shape[1] == 2:
        values = np.concatenate([values, np.ones((17, 1), np.float32)], 1)
    points = np.zeros((_NUM_KEYPOINTS, 3), np.float32)
    points[list(_ALL_BUT_NECK)] = values[list(_COCO_17)]
    shoulders = points[list(_SHOULDERS)]
    confidence = shoulders[:, 2].min()
    if confidence > 0:
        points[_NECK] = [*shoulders[:, :2].mean(0), confidence]
    points[:, 2] = points[:, 2].clip(0, 1)
    return Pose(points, width, height)


def read_txt(path: str | Path, size: tuple[int, int] | None = None) -> Pose:
    """PIDM-style text: 18 lines ``x y``; -1 is missing.

    Args:
        path: the file.
        size: width and height of the frame in pixels, which the format does not say; without it as in `read_pose`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not 18 lines of two numbers; no key point inside the frame.
    """
    path = Path(path)
    lines = [line.replace(",", " ").split() for line in _read_text(path).splitlines() if line.strip()]
    try:
        places = np.array(lines, np.float64)
    except ValueError:
        places = np.empty(0)
    if places.shape != (_NUM_KEYPOINTS, 2) or not (np.abs(places) <= _FARTHEST).all():
        raise ValueError(f"{path}: 18 lines 'x y' in pixels expected, -1 -1 for a missing key point")
    return _checked(_with_confidence(places), size, str(path))


def write_txt(pose: Pose, path: str | Path) -> None:
    """Write PIDM-style text, see `read_txt`; the frame's size is not part of the format."""
    lines = ["-1 -1" if c == 0 else f"{x:.2f} {y:.2f}" for x, y, c in pose.keypoints.tolist()]
    write_text(Path(path), "\n".join(lines) + "\n")


def _with_confidence(places: np.ndarray) -> np.ndarray:
    """x, y (18, 2), of which one being -1 means missing -> (18, 3)."""
    found = (places != -1).all(1)
    return np.concatenate([np.where(found[:, None], places, 0), found[:, None]], 1).astype(np.float32)


def read_annotation_csv(path: str | Path, size: tuple[int, int]) -> dict[str, Pose]:
    """The field's annotation CSV: ``name:keypoints_y:keypoints_x``, lists of 18 integers, y first, -1 missing.

    Args:
        path: the file.
        size: width and height of the frame that the coordinates are in.

    Returns:
        Poses by picture name, in the order of the file; pictures without any key point are left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another header, a line that does not fit, or a person wholly outside the frame; the message names
            the line.
    """
    path = Path(path)
    lines = _read_text(path).splitlines()
    if not lines or lines[0].strip() != _CSV_HEADER:
        raise ValueError(f"{path}: the first line must be {_CSV_HEADER!r}")
    poses = {}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:
            name, rows, columns = line.split(":")
            places = np.array([json.loads(columns), json.loads(rows)], np.float64).T
        except (ValueError, TypeError, OverflowError, RecursionError):
            places = np.empty(0)
        if places.shape != (_NUM_KEYPOINTS, 2) or not (np.abs(places) <= _FARTHEST).all():
            raise ValueError(f"{path}, line {number}: name, 18 y and 18 x expected, separated by ':'")
        points = _with_confidence(places)
        if points[:, 2].any():
            poses[name.strip()] = _checked(points, size, f"{path}, line {number}")
    return poses


def write_annotation_csv(poses: Mapping[str, Pose], path: str | Path) -> None:
    """Write the field's annotation CSV, see `read_annotation_csv`; coordinates are rounded to whole pixels.

    A point at -1 (just outside the frame) cannot be told from a missing one in this format.

    Raises:
        ValueError: a name holds a colon or a line break.
    """
    lines = [_CSV_HEADER]
    for name, pose in poses.items():
        if ":" in name or "\n" in name:
            raise ValueError(f"picture name {name!r} holds ':' or a line break, which the format cannot hold")
        places = np.where(pose.keypoints[:, 2:] > 0, np.rint(pose.keypoints[:, :2]), -1).astype(int)
        lines.append(f"{name}: {places[:, 1].tolist()}: {places[:, 0].tolist()}")
    write_text(Path(path), "\n".join(lines) + "\n")
