"""Random people with known key points, and files of them as a tool writes them; for `pose_file_kinds.py`.

The orders of the points stand here once more, as the tools' own documents list them, so that a mistake in the readers shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OPENPOSE = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee right_ankle "
    "left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
).split()
COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
BODY_25 = OPENPOSE[:8] + ["mid_hip"] + OPENPOSE[8:] + [f"foot_{index}" for index in range(6)]
HALPE = COCO + ["head_top", "neck", "pelvis"] + [f"foot_{index}" for index in range(6)]
MEDIAPIPE = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear mouth_left "
    "mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky right_pinky "
    "left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle "
    "left_heel right_heel left_foot_index right_foot_index"
).split()
# A standing adult, in heights of the person, the feet's middle at 0, 0.
STANDING = {
    "nose": (0, -0.93), "neck": (0, -0.82), "right_shoulder": (-0.11, -0.81), "right_elbow": (-0.14, -0.63),
    "right_wrist": (-0.15, -0.47), "left_shoulder": (0.11, -0.81), "left_elbow": (0.14, -0.63),
    "left_wrist": (0.15, -0.47), "right_hip": (-0.07, -0.52), "right_knee": (-0.08, -0.28),
    "right_ankle": (-0.08, -0.04), "left_hip": (0.07, -0.52), "left_knee": (0.08, -0.28), "left_ankle": (0.08, -0.04),
    "right_eye": (-0.02, -0.95), "left_eye": (0.02, -0.95), "right_ear": (-0.05, -0.94), "left_ear": (0.05, -0.94),
}  # fmt: skip
CHAINS = (
    ("right_shoulder", "right_elbow", "right_wrist"), ("left_shoulder", "left_elbow", "left_wrist"),
    ("right_hip", "right_knee", "right_ankle"), ("left_hip", "left_knee", "left_ankle"),
)  # fmt: skip


@dataclass
class Truth:
    """One person: place of each name in pixels, names that are missing, confidence, hands (2, 21, 2)."""

    places: dict[str, tuple[float, float]]
    missing: set[str] = field(default_factory=set)
    confidence: float = 0.9
    hands: np.ndarray | None = None


@dataclass
class Case:
    """A file as a tool writes it, and what it must be read as.

    Attributes:
        content: JSON, text or an array.
        expected: (18, 3) for each pose, the last column 1 where found, in pixels; a point at -1, -1 is not compared.
        size: height and width of the frame.
        options: how it is read; `beside` puts a picture beside it instead.
    """

    content: Any
    expected: list[np.ndarray]
    size: tuple[int, int]
    name: str = "pose.json"
    options: dict[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    hands: list[np.ndarray] = field(default_factory=list)


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    sizes = ((256, 176), (512, 512), (768, 512), (1080, 1920), (1920, 1080), (720, 1280), (128, 64), (480, 640))
    return sizes[rng.integers(len(sizes))]


def random_person(rng: np.random.Generator, size: tuple[int, int], share: float = 0.8, at: float = 0.5) -> Truth:
    """A person of `share` of the frame's height with limbs at random angles; a fifth of the points may be missing."""
    places = {name: np.array(place, float) for name, place in STANDING.items()}
    for chain in CHAINS:
        for first, joint in enumerate(chain[:-1]):
            angle = rng.uniform(-0.6, 0.6)
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            for name in chain[first + 1 :]:
                places[name] = places[joint] + turn @ (places[name] - places[joint])
    height = share * min(size[0], 1.6 * size[1]) * rng.uniform(0.85, 1)
    origin = np.array([size[1] * at, size[0] * (0.5 + share / 2)])
    found = {name: tuple((origin + height * place).tolist()) for name, place in places.items()}
    count = int(rng.integers(0, 4))
    missing = set(rng.choice(OPENPOSE, count, replace=False).tolist()) if rng.random() < 0.6 else set()
    return Truth(found, missing, float(rng.uniform(0.4, 1.0)))


def expected(person: Truth, made_neck: bool) -> np.ndarray:
    """(18, 3): x, y and 1 where found; a neck that is not in the file lies between the shoulders."""
    rows = np.array([[*person.places[name], float(name not in person.missing)] for name in OPENPOSE])
    if made_neck:
        rows[1] = [*rows[[2, 5], :2].mean(0), rows[[2, 5], 2].min()]
    return np.where(rows[:, 2:] > 0, rows, 0)


def listed(person: Truth, names: Sequence[str], rng: np.random.Generator, missing: str = "zeros") -> np.ndarray:
    """(n, 3) in a tool's order; what our 18 lack lies beside the nose."""
    rows = []
    for name in names:
        x, y = person.places.get(name, np.add(person.places["nose"], rng.normal(0, 2, 2)))
        rows.append([x, y, person.confidence])
        if name in person.missing:
            rows[-1] = {
                "zeros": [0, 0, 0], "minus": [-1, -1, 0], "minus_sure": [-1, -1, person.confidence],
                "zeros_sure": [0, 0, person.confidence], "low": [*(rng.uniform(0, 2000, 2)), rng.uniform(0, 0.09)],
                "nan": [np.nan, np.nan, np.nan],
            }[missing]  # fmt: skip
    return np.array(rows)


def spelling(rng: np.random.Generator, *kinds: str) -> str:
    return str(rng.choice(kinds or ("zeros", "minus", "minus_sure", "zeros_sure", "low", "nan")))


def people_of(rng: np.random.Generator, size: tuple[int, int]) -> tuple[list[Truth], int]:
    """One to three people, and the index of the largest."""
    others = [
        random_person(rng, size, rng.uniform(0.15, 0.35), rng.uniform(0.1, 0.9)) for _ in range(rng.integers(0, 3))
    ]
    at = int(rng.integers(0, len(others) + 1))
    return [*others[:at], random_person(rng, size), *others[at:]], at


def framed(rng: np.random.Generator, size: tuple[int, int], case: Case, name: str = "pose") -> Case:
    """The frame of a file that states none: by option or by its picture."""
    if rng.random() < 0.5:
        case.options["frame"] = size
    else:
        case.beside = (f"{name}.{rng.choice(['jpg', 'png'])}",)
    return case


def plain(values: np.ndarray) -> list[Any]:
    """Lists with null for NaN."""
    return [[None if np.isnan(one) else float(one) for one in row] for row in values]


def flat(values: np.ndarray) -> list[Any]:
    return [one for row in plain(values) for one in row]
