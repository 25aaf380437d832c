"""Small people for data sets: an identity is a colour, a view is a size; and a folder of them as users have it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

from imagpose.data.notes import Problem
from imagpose.data.prepare import Made, Person
from imagpose.data.records import ViewRecord, make_record
from imagpose.pose import Pose, write_openpose_json

HEIGHT, WIDTH = 40, 24


def small_pose(number: int, width: int = WIDTH, height: int = HEIGHT) -> Pose:
    rng = np.random.default_rng(number)
    points = np.stack([rng.uniform(0, width, 18), rng.uniform(0, height, 18), np.ones(18)], 1).astype(np.float32)
    points[17] = 0  # the left ear is missing
    return Pose(points, width, height)


def small_picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8))


def small_record(identity: str, view: int, split: str = "train") -> ViewRecord:
    number = int(identity) * 100 + view
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (2, 3, 10, 20))
    return make_record(
        small_picture(number),
        small_pose(number),
        identity=identity,
        view=str(view),
        split=split,
        source_file=f"{identity}/{view}.png",
        mask=mask if view % 2 == 0 else None,
    )


def small_people(counts: list[int], split: str = "train", first: int = 0) -> list[Person]:
    """Identities `first`, `first` + 1, ... with so many views each."""
    return [Person(str(first + number), split, tuple(range(count))) for number, count in enumerate(counts)]


def make_small(person: Person) -> Made:
    """View 9 cannot be made. Waits for ever at the identity that HANG_AT names, after touching the file HANGS."""
    if os.environ.get("HANG_AT") == person.identity:
        Path(os.environ["HANGS"]).touch()
        time.sleep(600)
    records = [small_record(person.identity, view, person.split) for view in person.views if view != 9]
    return records, [Problem(f"{person.identity}/9.png", "damaged")] if 9 in person.views else []


def write_tree(root: Path, counts: dict[str, int]) -> Path:
    """A folder per identity with `<view>.png` and `<view>.json`."""
    for name, count in counts.items():
        folder = root / name
        folder.mkdir(parents=True)
        for view in range(count):
            number = sum(name.encode()) * 100 + view
            small_picture(number).save(folder / f"{view}.png")
            write_openpose_json(small_pose(number), folder / f"{view}.json")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
