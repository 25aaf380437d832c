"""`imagpose reid people`: rendered people as a re-identification set, in the layout of Market-1501. Source: own.

Four cameras, each with its own place, ground and light, which everybody walks through: the ground tells which camera took
a picture, and never who is shown. A camera also has its own colours, contrast and sharpness, and people are cut out of its
picture roughly, as by a detector. People of the training part and of queries and gallery are of the project's own splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track
from scipy.ndimage import gaussian_filter

from imagpose.data.reid import FOLDERS, market_name
from imagpose.outputs import check_replaceable, result_folder
from imagpose.people.camera import Camera, ViewSpec
from imagpose.people.identity import make_identity
from imagpose.people.scene import render_view
from imagpose.people.splits import TEST_SEEDS, TRAIN_SEEDS
from imagpose.pose import Pose, write_annotation_csv
from imagpose.provenance import save_rendered
from imagpose.workers import in_order

HEIGHT, WIDTH = 128, 64
ANNOTATIONS = {
    "train": "market-annotation-train.csv",
    "query": "market-annotation-query.csv",
    "gallery": "market-annotation-test.csv",
}
"""Key points of the pictures, as the field's files hold those of Market-1501; the field has none of queries."""
_FIRST_TRAIN, _FIRST_TEST = TRAIN_SEEDS[-1] - 99_999, TEST_SEEDS[-1] - 99_999  # nobody that mini was trained on


@dataclass(frozen=True)
class _Place:
    """A camera: seed of its shoot (ground and light), degrees downwards, metres away, and how it records.

    `gains` multiply red, green and blue, `gamma` is the contrast of the tones, `blur` a standard deviation in pixels.
    """

    shoot: int
    pitch: float
    distance: float
    gains: tuple[float, float, float]
    gamma: float
    blur: float


_PLACES = (
    _Place(33, 4.0, 5.0, (1.08, 0.98, 0.84), 1.0, 0.6),
    _Place(20, 12.0, 6.5, (0.80, 0.92, 1.06), 1.25, 1.0),
    _Place(32, 8.0, 4.0, (0.98, 1.06, 0.90), 0.8, 0.8),
    _Place(14, 1.0, 7.0, (0.72, 0.70, 0.74), 1.1, 1.2),
)
_NOISE = 5.0  # standard deviation, of 255


def render_reid_people(
    out: Path | str,
    train: int = 300,
    test: int = 200,
    views: int = 4,
    workers: int | None = None,
    overwrite: bool = False,
) -> int:
    """Render a set of 128x64 pictures with a progress bar, whole or not at all.

    Of each camera's pictures of a test person one is a query, the others are in the gallery.

    Args:
        out: folder of the set.
        train, test: people of both parts.
        views: pictures of a person by each camera, at least 2.
        workers: processes; None for one per core.
        overwrite: replace an earlier set.

    Returns:
        The number of pictures.

    Raises:
        ValueError: a number is out of its range; see `outputs.check_replaceable`.
    """
    if not (train >= 2 and test >= 2 and train + test <= 1501 and views >= 2):
        raise ValueError(
            f"train {train}, test {test}, views {views}: at least 2 each, and at most 1501 people together, expected"
        )
    out = Path(out)
    check_replaceable(out, overwrite)
    people = [(number + 1, _FIRST_TRAIN + number, "train") for number in range(train)]
    people += [(train + number + 1, _FIRST_TEST + number, "gallery") for number in range(test)]
    poses: dict[str, dict[str, Pose]] = {part: {} for part in FOLDERS}
    with result_folder(out, overwrite) as folder:
        for name in FOLDERS.values():
            (folder / name).mkdir()
        work = partial(_render_person, views=views, folder=folder)
        for found in track(in_order(work, people, workers), "people", total=len(people)):
            for part, name, pose in found:
                poses[part][name] = pose
        for part, name in ANNOTATIONS.items():
            write_annotation_csv(poses[part], folder / name)
    return sum(map(len, poses.values()))


def _render_person(person: tuple[int, int, str], views: int, folder: Path) -> list[tuple[str, str, Pose]]:
    """Write the pictures of a person; part, name and pose of each."""
    number, seed, part = person
    identity = make_identity(seed)
    made = []
    for camera, specs in enumerate(_specifications(seed, views), 1):
        for frame, spec in enumerate(specs):
            view = render_view(identity, spec, HEIGHT, WIDTH)
            own = "query" if part == "gallery" and frame == 0 else part
            name = market_name(number, camera, 100 * camera + frame, box=1)
            recorded = _recorded(view.picture, _PLACES[camera - 1], np.random.default_rng([seed, camera, frame]))
            save_rendered(Image.fromarray(recorded), folder / FOLDERS[own] / name)
            made.append((own, name, view.pose))
    return made


def _recorded(picture: np.ndarray, place: _Place, rng: np.random.Generator) -> np.ndarray:
    """A picture uint8 (H, W, 3) as a camera records it: colours, exposure of the moment, sharpness, noise."""
    tones = (picture / 255.0) ** place.gamma * np.array(place.gains) * rng.uniform(0.85, 1.15)
    soft = gaussian_filter(tones, (place.blur, place.blur, 0))
    noisy: np.ndarray = (255 * soft + rng.normal(0, _NOISE, picture.shape)).round().clip(0, 255).astype(np.uint8)
    return noisy


def _specifications(seed: int, views: int) -> list[list[ViewSpec]]:
    """The views of a person by each camera: from all sides, whole bodies."""
    rng = np.random.default_rng([seed, 0x4E1D])
    found = []
    for place in _PLACES:
        sides = rng.uniform(0, 360) + np.arange(views) * 360 / views + rng.uniform(-30, 30, views)
        found.append(
            [
                ViewSpec(
                    pose_seed=int(rng.integers(2**31)),
                    yaw=float(side % 360),
                    camera=Camera(
                        framing="full",
                        pitch=place.pitch + float(rng.normal(0, 1)),
                        distance=place.distance,
                        fill=float(rng.uniform(0.82, 1.05)),
                        shift=(float(np.clip(rng.normal(0, 0.06), -0.15, 0.15)), float(rng.uniform(-0.05, 0.05))),
                    ),
                    background=place.shoot,
                    world="varied",
                )
                for side in sides
            ]
        )
    return found
