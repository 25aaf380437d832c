"""Key points found by BlazePose, the pose networks of MediaPipe, on a CPU through ai-edge-litert (extra `pose`).

A detector looks at the whole picture, brought to 224 x 224, and gives for each person the middle of the hips and a point as
far above it (along the spine) as the person reaches. They span an upright square around the person, which the second network
sees at 256 x 256. It finds 33 landmarks and the same two points again, more exactly: the square is laid anew around them and
the network asked once more, which is what helps most for people seen from the back (docs/poses.md).

Source: Bazarevsky et al., "BlazePose: on-device real-time body pose tracking", 2020; the layout of anchors and outputs is
that of MediaPipe 0.10.14's pose graphs. The code is our own.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import expit

from imagpose.pose.blazepose_files import network_files
from imagpose.pose.choice import MIN_CONFIDENCE
from imagpose.pose.detector import USABLE_POINTS, PoseDetector, largest_first
from imagpose.pose.keypoints import Pose
from imagpose.pose.layouts import LAYOUTS, to_body, with_neck

Network = Callable[[np.ndarray], list[np.ndarray]]

_PERSON_INPUT, _LANDMARK_INPUT = 224, 256
_ANCHORS_PER_CELL = ((8, 2), (16, 2), (32, 6))  # stride in pixels of the input, anchors at each place
_LEAST_SCORE, _SAME_PERSON = 0.5, 0.3  # MediaPipe's thresholds of the score and of the overlap (IoU)
_LEAST_SCORE_ALONE = 0.3  # where nobody has more: half of the partial bodies that were missed are found by that
_HIPS, _REACH = 2, 3  # rows of a decoded person, behind the middle and the size of the face's box
_MARGIN = 1.25  # of the square around the person
_LANDMARKS, _REFINED_HIPS, _REFINED_REACH = 33, 33, 34
_PASSES = 3
_LEAST_PRESENCE = 0.5  # of a person in the square
_SURE = 0.5
_WINDOW, _LEAST_PEAK = 3, 0.5  # cells of the heat map on each side of a landmark; less than this peak refines nothing


def _anchors() -> np.ndarray:
    rows = []
    for stride, count in _ANCHORS_PER_CELL:
        y, x = np.mgrid[: _PERSON_INPUT // stride, : _PERSON_INPUT // stride]
        rows.append(np.repeat((np.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride, count, axis=0))
    return np.concatenate(rows)


ANCHORS = _anchors()
"""Middles of the detector's 2254 anchors, (2254, 2) x, y in pixels of its input, in the order of its outputs."""


@dataclass(frozen=True)
class Square:
    """A turned square of a picture.

    Attributes:
        middle: x, y in pixels of the picture.
        side: in pixels of the picture.
        angle: by which its upward direction is turned clockwise from the picture's, in radians.
    """

    middle: tuple[float, float]
    side: float
    angle: float = 0.0

    @property
    def axes(self) -> np.ndarray:
        """Its directions to the right and downwards as rows (2, 2), of unit length."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cosine, sine], [-sine, cosine]])

    def cut(self, picture: Image.Image, size: int) -> np.ndarray:
        """Its pixels, float (size, size, 3) in 0..1, black where it leaves the picture."""
        # Pillow's transform reads single pixels, so that a large picture has to be averaged down before.
        shrink = max(1, int(self.side / size))
        source = picture.reduce(shrink) if shrink > 1 else picture
        step = self.side / size
        right, down = self.axes * step / shrink
        start = (np.array(self.middle) - self.axes.sum(0) * self.side / 2) / shrink
        coefficients = (right[0], down[0], start[0], right[1], down[1], start[1])
        cut = source.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
        return np.asarray(cut, np.float32) / 255

    def to_picture(self, points: np.ndarray, size: int) -> np.ndarray:
        """Points (n, 2) in pixels of what `cut` gives, in pixels of the picture."""
        placed: np.ndarray = (points - size / 2) * (self.side / size) @ self.axes + self.middle
        return placed


def square_around(hips: np.ndarray, reach: np.ndarray) -> Square:
    """The square around a person: middle of the hips (2,), a point as far above it as the person reaches (2,)."""
    x, y = reach - hips
    return Square((float(hips[0]), float(hips[1])), 2 * _MARGIN * math.hypot(x, y), math.atan2(x, -y))


def decode_people(raw: np.ndarray, logits: np.ndarray, least_score: float = _LEAST_SCORE) -> np.ndarray:
    """People in the outputs of the detector, the surest first.

    Args:
        raw: (2254, 12), for each anchor the face's box (middle x, y, width, height), then four points (x, y): hips and
            reach of the whole person and of the upper body; all in pixels of the input, places relative to the anchor.
        logits: (2254,) of the scores.
        least_score: of a person, 0..1.

    Returns:
        (people, 6, 2) in pixels of the input: middle and size of the face's box, and the four points. Boxes that overlap
        are one person, their mean by score.
    """
    scores = expit(logits.astype(np.float64))
    chosen = np.flatnonzero(scores >= least_score)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    rows, scores = raw[chosen].reshape(-1, 6, 2).astype(np.float64), scores[chosen]
    rows[:, [0, 2, 3, 4, 5]] += ANCHORS[chosen, None]
    boxes = np.concatenate([rows[:, 0] - rows[:, 1] / 2, rows[:, 0] + rows[:, 1] / 2], 1)
    people, left = [], np.arange(len(rows))
    while len(left):
        same = _overlaps(boxes[left[0]], boxes[left]) > _SAME_PERSON
        same[0] = True
        people.append(np.average(rows[left[same]], axis=0, weights=scores[left[same]]))
        left = left[~same]
    return np.array(people).reshape(-1, 6, 2)


def _overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (left, top, right, bottom) with others (n, 4)."""
    shared = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
    overlaps: np.ndarray = shared / np.maximum((box[2:] - box[:2]).clip(0).prod() + areas - shared, 1e-9)
    return overlaps


def refine(places: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Landmarks moved to the middle of the heat around them, where the heat map is sure.

    PCK within 0.025 of a person's height rises from .74 to .84 by that, on 46 rendered people.

    Args:
        places: (n, 2) x, y in pixels of the network's input.
        heat: (64, 64, n) logits. Cell i stands for pixel 4 i, not for the cell's middle: measured, and as MediaPipe has it.
    """
    size = len(heat)
    scale = _LANDMARK_INPUT / size
    refined = places.copy()
    for number, (x, y) in enumerate((places / scale).astype(int)):
        if not (0 <= x < size and 0 <= y < size):
            continue
        top, left = max(0, y - _WINDOW), max(0, x - _WINDOW)
        window = expit(heat[top : y + _WINDOW + 1, left : x + _WINDOW + 1, number].astype(np.float64))
        if window.max() >= _LEAST_PEAK:
            rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
            middle = np.array([(window * (columns + left)).sum(), (window * (rows + top)).sum()]) / window.sum()
            refined[number] = middle * scale
    return refined


class BlazePose(PoseDetector):
    """MediaPipe's detector and its full landmark network."""

    name = "BlazePose full (MediaPipe 0.10.14)"

    def __init__(self, threads: int | None = None) -> None:
        """Load both networks from the folder of caches, see `blazepose_files.install`.

        Args:
            threads: of the CPU; None for one, which takes about 50 ms a picture.

        Raises:
            ValueError: the extra is not installed.
            FileNotFoundError: the networks are not there.
            OSError: a file is damaged.
        """
        person, landmark = network_files()
        self._find_people: Network = _load(person, ("Identity", "Identity_1"), threads)
        self._find_landmarks: Network = _load(landmark, ("Identity", "Identity_1", "Identity_3"), threads)

    def people(self, picture: Image.Image) -> list[Pose]:
        picture = picture.convert("RGB")
        whole = Square((picture.width / 2, picture.height / 2), max(picture.size))
        raw, logits = self._find_people(whole.cut(picture, _PERSON_INPUT) * 2 - 1)
        people = decode_people(raw, logits[:, 0])
        if not len(people):
            people = decode_people(raw, logits[:, 0], _LEAST_SCORE_ALONE)
        found: list[Pose] = []
        for person in people:
            hips, reach = whole.to_picture(person[[_HIPS, _REACH]], _PERSON_INPUT)
            pose = self._follow(picture, square_around(hips, reach))
            if pose is not None and not any(_same_person(pose, other) for other in found):
                found.append(pose)
        return largest_first(found)

    def in_crop(self, picture: Image.Image) -> Pose | None:
        picture = picture.convert("RGB")
        pose = self._follow(picture, Square((picture.width / 2, picture.height / 2), _MARGIN * max(picture.size)))
        if pose is None or (pose.keypoints[:, 2] >= _SURE).sum() < USABLE_POINTS:
            return None
        return pose

    def _follow(self, picture: Image.Image, square: Square) -> Pose | None:
        """The pose of the person in a square, which is laid anew around what was found in it."""
        pose = None
        for _ in range(_PASSES):
            outputs, presence, heat = self._find_landmarks(square.cut(picture, _LANDMARK_INPUT))
            rows = outputs.reshape(-1, 5).astype(np.float64)  # x, y, depth, logits of being seen and of being there
            places = square.to_picture(refine(rows[:, :2], heat), _LANDMARK_INPUT)
            square = square_around(places[_REFINED_HIPS], places[_REFINED_REACH])
            if presence[0] >= _LEAST_PRESENCE:  # of partial bodies some squares show too little
                confidence = expit(rows[:, 3:]).min(1)
                pose = _pose(places[:_LANDMARKS], confidence[:_LANDMARKS], picture.width, picture.height)
        return pose if pose is not None and pose.visible.any() else None


def _pose(places: np.ndarray, confidence: np.ndarray, width: int, height: int) -> Pose:
    """Our key points of 33 landmarks; outside of the picture they are guesses, and missing."""
    inside = ((places >= 0) & (places < (width, height))).all(1)
    confidence = np.where(inside & (confidence >= MIN_CONFIDENCE), confidence, 0.0)
    names = LAYOUTS[_LANDMARKS].names
    body = with_neck(np.nan_to_num(to_body(np.column_stack([places, confidence]), names)))
    body[body[:, 2] == 0] = 0
    return Pose(body, width, height)


def _same_person(pose: Pose, other: Pose) -> bool:
    """Whether most key points lie within a tenth of the person's size: two detections of one person."""
    both = pose.visible & other.visible
    if not both.any():
        return False
    size = np.ptp(other.keypoints[other.visible, :2], axis=0).max()
    apart = np.hypot(*(pose.keypoints[both, :2] - other.keypoints[both, :2]).T)
    return bool(np.median(apart) <= 0.1 * size)


def _load(file: Path, names: Sequence[str], threads: int | None) -> Network:
    """A network's outputs of these names without their batch axis, from a picture (H, W, 3)."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ValueError(f"poses are detected by the extra 'pose': pip install \"imagpose[pose]\" ({error})") from error
    try:
        with _native_lines_hidden():
            interpreter = Interpreter(str(file), num_threads=threads or 1)
            interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        # LiteRT lists outputs in no fixed order.
        places = {output["name"]: output["index"] for output in interpreter.get_output_details()}
        outputs = [places[name] for name in names]
    except (ValueError, RuntimeError, KeyError) as error:
        raise OSError(f"{file} cannot be used ({error}): remove it, then imagpose poses setup") from error

    def run(picture: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(given["index"], picture[None].astype(np.float32))
        interpreter.invoke()
        return [interpreter.get_tensor(output)[0] for output in outputs]

    return run


@contextlib.contextmanager
def _native_lines_hidden() -> Iterator[None]:
    """LiteRT's libraries write to the process's standard error as they start, past Python's."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
