"""How well BlazePose finds poses: rendered people whole and in part, crops, a photograph, pictures without people.

Prints the tables of docs/poses.md. The people are the first of the test split, rendered once into --folder.

    python benchmarks/pose_detection.py --folder runs/pose_detection
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image, ImageFilter
from skimage import data

from imagpose.metrics.keypoints import pck
from imagpose.people.render_set import render_set
from imagpose.people.splits import TEST_SEEDS
from imagpose.pose import KEYPOINT_NAMES, Pose
from imagpose.pose.detection import DETECTORS, open_detector

SHARES = (0.1, 0.05)
HEIGHT, WIDTH, VIEWS = 512, 384, 4
GROUPS = (
    "front",
    "side",
    "back",
    "whole, photographed",
    "whole, drawn",
    "front, cut",
    "side, partial",
    "back, partial",
)
CROP, CROP_MARGIN, BLURS = (64, 128), 1.1, (0, 1, 2)  # width and height of re-identification sets
BESIDE = (640, 480)  # width and height of a picture with two people
FILLED = (0.67, 0.5, 0.33, 0.25)  # how much of its height each of them fills
# Read off scikit-image's astronaut (512 x 512) by eye: her left wrist is behind the helmet, hips and legs are outside.
ASTRONAUT = {
    "nose": (223, 127), "right_eye": (202, 101), "left_eye": (247, 103), "right_ear": (176, 122), "left_ear": (272, 130),
    "right_shoulder": (88, 250), "left_shoulder": (318, 256), "neck": (203, 250), "right_elbow": (45, 420),
    "left_elbow": (350, 375), "right_wrist": (150, 490),
}  # fmt: skip
WITHOUT_PEOPLE = (
    "brick", "cat", "clock", "coffee", "coins", "colorwheel", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A rendered view: picture, key points (18, 3), mask of the person, and which groups it is of."""

    picture: Image.Image
    keypoints: np.ndarray
    mask: np.ndarray
    groups: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the people are, or are rendered to")
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--detector", default=DETECTORS[0])
    arguments = parser.parse_args()
    detector = open_detector(arguments.detector, threads=1)
    people, folder = arguments.people, arguments.folder
    render_set(TEST_SEEDS[0], people, VIEWS, HEIGHT, WIDTH, folder, workers=1)

    print(f"Detector: {detector.name}\n")
    print(f"| {people} people | size | views | PCK@0.1 | PCK@0.05 | nobody found |\n|" + " --- |" * 6)
    for reduced in (2, 1):
        found: dict[str, list[list[float]]] = defaultdict(list)
        fronts = (seen for seen in views(folder, people) if seen.groups[0] == "front")
        for seen in chain(views(folder, people), map(cut_below_hips, islice(fronts, 0, None, 3))):
            picture, points = seen.picture.reduce(reduced), seen.keypoints / (reduced, reduced, 1)
            values = scores(first(detector.people(picture)), points, picture.size)
            for group in seen.groups:
                found[group].append(values)
        for group in GROUPS:
            print(row(group, f"{HEIGHT // reduced}x{WIDTH // reduced}", found[group]), flush=True)

    print(f"\n| crops at {CROP[1]}x{CROP[0]} | blur | views | PCK@0.1 | PCK@0.05 | unusable |\n|" + " --- |" * 6)
    whole_bodies = (seen for seen in views(folder, people) if len(seen.groups) > 1)
    cut = [crop(seen, number) for number, seen in enumerate(islice(whole_bodies, 0, None, 3))]
    for blur in BLURS:
        found_in = [crop_scores(detector.in_crop, *one, blur) for one in cut if one is not None]
        print(row("--crops", str(blur), found_in), flush=True)
    detected = [crop_scores(lambda one: first(detector.people(one)), *one, 0) for one in cut if one is not None]
    print(row("without --crops", "0", detected), flush=True)

    print(f"\n| two people in {BESIDE[1]}x{BESIDE[0]}, each filling | people | found |\n|" + " --- |" * 3)
    standing = [seen for seen in views(folder, people) if seen.groups[0] == "front" and seen.groups[1:]]
    for share in FILLED:
        both = [beside(pair, share) for pair in zip(standing[::2], standing[1::2], strict=False)]
        met = [
            is_met(found, points) for picture, each in both for found in [detector.people(picture)] for points in each
        ]
        print(f"| {share:.0%} of the height | {len(met)} | {np.mean(met):.0%} |", flush=True)

    photographs(detector.people)


def views(folder: Path, people: int) -> Iterator[Seen]:
    """Of each person the first view, which is a whole one from the front, one of the next three in turn, and those of the
    three that show a part."""
    for index, seed in enumerate(TEST_SEEDS[:people]):
        info = json.loads((folder / str(seed) / "set.json").read_text())
        for number, view in enumerate(info["views"][:VIEWS]):
            whole = view["framing"] == "full"
            if whole and number not in (0, 1 + index % 3):
                continue
            path = folder / str(seed) / str(number)
            written = json.loads(path.with_suffix(".json").read_text())["people"][0]["pose_keypoints_2d"]
            away = abs((view["yaw"] + 180) % 360 - 180)  # degrees from the front
            side = "front" if away <= 45 else "back" if away >= 135 else "side"
            style = "photographed" if info["style"] == "photographic" else "drawn"
            yield Seen(
                Image.open(path.with_suffix(".png")).convert("RGB"),
                np.reshape(written, (18, 3)),
                np.asarray(Image.open(path.with_name(f"{number}_mask.png"))) > 0,
                (side, f"whole, {style}") if whole else (f"{side}, partial",),
            )


def cut_below_hips(seen: Seen) -> Seen:
    """A whole person's view, cut off a tenth of the picture's height below the hips."""
    height = min(HEIGHT, int(seen.keypoints[[8, 11], 1].max() + HEIGHT // 10)) // 2 * 2
    return Seen(seen.picture.crop((0, 0, WIDTH, height)), seen.keypoints, seen.mask[:height], ("front, cut",))


def first(people: list[Pose]) -> Pose | None:
    return people[0] if people else None


def scores(pose: Pose | None, points: np.ndarray, size: tuple[int, int]) -> list[float]:
    """PCK of the visible points at each share, and whether nobody was found; a missing point is wrong."""
    counted = (points[:, 2] == 1) & ((points[:, :2] >= 0) & (points[:, :2] < size)).all(1)
    if pose is None:
        return [*(0.0 for _ in SHARES), 1.0]
    places = np.where(pose.keypoints[:, 2:] > 0, pose.keypoints[:, :2], np.inf)
    return [*(pck(places, points, counted, share) for share in SHARES), 0.0]


def row(name: str, what: str, values: list[list[float]]) -> str:
    means = np.nanmean(np.array(values), axis=0) if values else np.full(3, np.nan)
    return f"| {name} | {what} | {len(values)} | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.1%} |"


def crop(seen: Seen, number: int) -> tuple[Image.Image, np.ndarray] | None:
    """A whole person cut out twice as high as wide, as re-identification sets are; None of who does not fit."""
    ys, xs = np.nonzero(seen.mask)
    height, width = (CROP_MARGIN * (np.ptp(axis) + 1) for axis in (ys, xs))
    if len(seen.groups) == 1 or width > 0.8 * height:
        return None
    height = max(height, 2 * width)
    rng = np.random.default_rng(number)  # boxes of detectors are not quite in the middle
    left, top = (np.mean([xs.min(), xs.max() + 1]) - height / 4, np.mean([ys.min(), ys.max() + 1]) - height / 2)
    left, top = np.array([left, top]) + rng.uniform(-0.03, 0.03, 2) * height
    edges = (WIDTH, HEIGHT)
    wide = Image.fromarray(np.pad(np.asarray(seen.picture), ((edges[1],) * 2, (edges[0],) * 2, (0, 0)), mode="edge"))
    box = (left + WIDTH, top + HEIGHT, left + WIDTH + height / 2, top + HEIGHT + height)
    points = (seen.keypoints - (left, top, 0)) * (CROP[1] / height, CROP[1] / height, 1)
    return wide.resize(CROP, Image.Resampling.BOX, box=box), points


def crop_scores(
    find: Callable[[Image.Image], Pose | None], picture: Image.Image, points: np.ndarray, blur: int
) -> list[float]:
    return scores(find(picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture), points, CROP)


def beside(pair: tuple[Seen, Seen], share: float) -> tuple[Image.Image, list[np.ndarray]]:
    """Two views side by side on a grey ground, each person filling a share of the picture's height; their key points."""
    picture, points = Image.new("RGB", BESIDE, (128, 128, 128)), []
    for seen, middle in zip(pair, (0.25, 0.75), strict=True):
        ys, xs = np.nonzero(seen.mask)
        scale = share * BESIDE[1] / (np.ptp(ys) + 1)
        box = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
        cut = seen.picture.crop(box)
        cut = cut.resize((round(cut.width * scale), round(cut.height * scale)), Image.Resampling.BOX)
        left, top = round(middle * BESIDE[0] - cut.width / 2), (BESIDE[1] - cut.height) // 2
        picture.paste(cut, (left, top))
        points.append((seen.keypoints - (*box[:2], 0)) * (scale, scale, 1) + (left, top, 0))
    return picture, points


def is_met(people: list[Pose], points: np.ndarray) -> bool:
    """Whether one of the poses that were found has most of a person's visible points."""
    return any(scores(pose, points, BESIDE)[0] > 0.5 for pose in people)


def photographs(find: Callable[[Image.Image], list[Pose]]) -> None:
    truth = np.array([(*ASTRONAUT.get(name, (0, 0)), name in ASTRONAUT) for name in KEYPOINT_NAMES], np.float64)
    people = find(Image.fromarray(data.astronaut()))
    at_tenth, at_twentieth, _ = scores(first(people), truth, (512, 512))
    print(
        f"\nastronaut: {len(people)} people, PCK@0.1 {at_tenth:.3f}, PCK@0.05 {at_twentieth:.3f} of {len(ASTRONAUT)} points"
    )
    wrong = [name for name in WITHOUT_PEOPLE if find(Image.fromarray(getattr(data, name)()).convert("RGB"))]
    print(f"pictures without people: {len(WITHOUT_PEOPLE)}; somebody found in {', '.join(wrong) or 'none'}")


if __name__ == "__main__":
    main()
