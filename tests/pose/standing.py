"""Somebody who stands before a camera, whose parts can be worked out by hand, and their pictures."""

from __future__ import annotations

import numpy as np

from imagpose.pose import KEYPOINT_NAMES, Pose

Places = dict[str, tuple[float, float]]
Colour = tuple[int, int, int]

HEIGHT, WIDTH, TRUNK = 256, 176, 70
# They face the camera and spread arms and legs a little. Their trunk is 70 pixels long, which no other bone exceeds.
STANDING: Places = {
    "nose": (88, 36), "neck": (88, 60), "right_shoulder": (66, 60), "right_elbow": (50, 95), "right_wrist": (38, 128),
    "left_shoulder": (110, 60), "left_elbow": (126, 95), "left_wrist": (138, 128), "right_hip": (76, 130),
    "right_knee": (70, 184), "right_ankle": (66, 236), "left_hip": (100, 130), "left_knee": (106, 184),
    "left_ankle": (110, 236), "right_eye": (84, 32), "left_eye": (92, 32), "right_ear": (80, 35), "left_ear": (96, 35),
}  # fmt: skip
RED, GREEN, BLUE, GREY = (250, 60, 60), (60, 250, 60), (60, 60, 250), (20, 20, 20)
ALL_RED = dict.fromkeys(("trunk", "head", "right_arm", "left_arm", "right_leg", "left_leg"), RED)
FACE = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
LEGS = tuple(f"{side}_{joint}" for side in ("right", "left") for joint in ("knee", "ankle"))


def pose(places: Places, *missing: str) -> Pose:
    """A pose in the frame, without some points."""
    points = np.zeros((18, 3), np.float32)
    for name, (x, y) in places.items():
        if name not in missing:
            points[KEYPOINT_NAMES.index(name)] = x, y, 1
    return Pose(points, WIDTH, HEIGHT)


def moved(x: float, y: float, *names: str) -> Places:
    """The standing pose with some points, or all, moved by x and y."""
    return {
        name: (place[0] + x, place[1] + y) if not names or name in names else place for name, place in STANDING.items()
    }


def from_behind(places: Places = STANDING) -> Places:
    """A pose mirrored, so that left is on the left as seen."""
    return {name: (2 * 88 - x, y) for name, (x, y) in places.items()}


def looking(yaw: float, places: Places = STANDING) -> Places:
    """A pose whose head is turned by an angle: ears .30 trunks apart, the nose .22 before their middle, as a circle goes."""
    apart, ahead = 0.30 * TRUNK * np.cos(yaw), 0.22 * TRUNK * np.sin(yaw)
    return places | {
        "nose": (88 + ahead, 36), "right_ear": (88 - apart / 2, 35), "left_ear": (88 + apart / 2, 35),
        "right_eye": (88 + ahead - 4, 32), "left_eye": (88 + ahead + 4, 32),
    }  # fmt: skip


def from_the_side(yaw: float) -> Places:
    """Somebody who looks to the right as seen (yaw above 0) or to the left, with hanging arms."""
    places = looking(yaw)
    for side in ("right", "left"):
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            places[f"{side}_{joint}"] = 88, STANDING[f"{side}_{joint}"][1]
    return places


def drawn(places: Places, **colours: Colour) -> np.ndarray:
    """Somebody made of stripes before a dark ground, red but for some parts, arms in front."""
    picture, colours = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8), ALL_RED | colours
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)

    def stripe(part: str, first: np.ndarray, second: np.ndarray, radius: float) -> None:
        (dx, dy), length = second - first, np.sum((second - first) ** 2)
        share = (((x - first[0]) * dx + (y - first[1]) * dy) / max(length, 1e-9)).clip(0, 1)
        picture[np.hypot(x - first[0] - share * dx, y - first[1] - share * dy) < radius] = colours[part]

    def limb(side: str, name: str, joints: tuple[str, str, str], radius: float, beyond: float) -> None:
        first, second, third = (np.array(places[f"{side}_{joint}"], float) for joint in joints)
        stripe(f"{side}_{name}", first, second, radius)
        stripe(f"{side}_{name}", second, third + beyond * (third - second), radius)  # a hand or a foot

    for side in ("left", "right"):
        limb(side, "leg", ("hip", "knee", "ankle"), 10, 0.32)
    neck = np.array(places["neck"], float)
    hips, head = (np.mean([places[f"{side}_{name}"] for side in ("right", "left")], axis=0) for name in ("hip", "ear"))
    stripe("trunk", neck + (0, 12), hips, 20)
    stripe("head", head, neck, 14)
    stripe("head", head, head, 18)
    for side in ("left", "right"):
        limb(side, "arm", ("shoulder", "elbow", "wrist"), 7.2, 0.5)
    return picture


def shape(places: Places = STANDING) -> np.ndarray:
    """Where somebody is drawn, bool (H, W)."""
    return (drawn(places) != GREY).any(axis=2)
