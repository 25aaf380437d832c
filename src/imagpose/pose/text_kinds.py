"""Poses in text: the field's annotation CSV, PIDM-style points, Ultralytics labels.

Sources: PATN's annotation CSV (``name:keypoints_y:keypoints_x``, -1 missing), PIDM's pose text (18 lines ``x y``, -1
missing), Ultralytics' label files (``class x y w h``, then ``x y visibility`` of 17 points, fractions of the picture; of
predictions with ``save_conf`` the box's confidence follows, of a tracker the person's number).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imagpose.pose.json_kinds import from_array
from imagpose.pose.keypoints import KEYPOINT_NAMES, Pose
from imagpose.pose.layouts import LAYOUTS
from imagpose.pose.points import Person, Record, person_of

TEXT_KINDS = ("annotation CSV (name:keypoints_y:keypoints_x)", "text with one point a line", "Ultralytics labels")
CSV_HEADER = "name:keypoints_y:keypoints_x"
_LABEL_START, _LABEL_END = 5, 2  # class, box; at most the box's confidence and the person's number
_FARTHEST = 100_000


def read_text(text: str) -> tuple[str, list[Record]] | None:
    """The name of the kind and what the text holds, or None for an unknown one.

    Raises:
        ValueError: a CSV of the field with a line that does not fit; the message names the line.
    """
    lines = text.splitlines()
    if lines and lines[0].strip() == CSV_HEADER:
        rows = _csv_rows(lines[1:])
        layout = LAYOUTS[len(KEYPOINT_NAMES)].name
        return TEXT_KINDS[0], [Record([Person(points, layout)], None, name) for _, name, points in rows]
    table = _table(lines)
    if table is None:
        return None
    size, more = divmod(table.shape[1] - _LABEL_START, 17)
    if size in (2, 3) and more <= _LABEL_END:
        points = table[:, _LABEL_START : _LABEL_START + size * 17].reshape(-1, 17, size)
        people = [person_of(one, f"line {number}") for number, one in enumerate(points, 1)]
        return TEXT_KINDS[2], [Record([person for person in people if person is not None])]
    if table.shape[1] in (2, 3, 4) and len(table) in LAYOUTS:
        return TEXT_KINDS[1], from_array(table)
    return None


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
    if not path.is_file():
        raise FileNotFoundError(f"pose file not found: {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    if not lines or lines[0].strip() != CSV_HEADER:
        raise ValueError(f"{path}: the first line must be {CSV_HEADER!r}")
    poses = {}
    try:
        for number, name, points in _csv_rows(lines[1:]):
            if not points[:, 2].any():
                continue
            pose = Pose(points, *size)
            if not pose.inside.any():
                raise ValueError(f"line {number}: no key point lies inside the frame of {size[1]}x{size[0]} pixels")
            poses[name] = pose
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
    return poses


def _csv_rows(lines: list[str]) -> Iterator[tuple[int, str, np.ndarray]]:
    """Number of the line, name of the picture, points (18, 3) with zeros where missing."""
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        try:
            name, rows, columns = line.split(":")
            places = np.array([json.loads(columns), json.loads(rows)], np.float64).T
        except (ValueError, TypeError, OverflowError, RecursionError):
            places = np.empty(0)
        if places.shape != (len(KEYPOINT_NAMES), 2) or not (np.abs(places) <= _FARTHEST).all():
            raise ValueError(f"line {number}: name, 18 y and 18 x expected, separated by ':'")
        found = (places != -1).all(1)
        yield number, name.strip(), np.concatenate([np.where(found[:, None], places, 0), found[:, None]], 1)


def _table(lines: list[str]) -> np.ndarray | None:
    """Lines of numbers, separated by blanks, commas, semicolons or tabs; None where that is not all there is."""
    rows = [line.replace(",", " ").replace(";", " ").split() for line in lines if line.strip()]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return None
    try:
        return np.array(rows, np.float64)
    except ValueError:
        return None
