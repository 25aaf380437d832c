"""Augmentation of training views: picture and pose are changed together. Source: own.

Whether a canvas is mirrored is drawn once for all of its views: a person whose pocket changes sides from view to view
would teach the model that sides do not matter. Crop and scale differ from view to view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from imagpose.pose import Pose


@dataclass(frozen=True)
class AugmentSettings:
    """How much views are changed; by default nothing is.

    Attributes:
        mirror: probability with which the views of a canvas are mirrored, 0..1.
        zoom: the scale is drawn between 1 / (1 + zoom) and 1 + zoom, uniform in its logarithm; 0..1.
        shift: the crop's centre is drawn within this fraction of each side of the picture's centre; 0..0.5.

    Raises:
        ValueError: a value outside its range.
    """

    mirror: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("mirror", 1.0), ("zoom", 1.0), ("shift", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; 0 to {most:g} expected")

    @property
    def changes_views(self) -> bool:
        """Whether anything is changed."""
        return self != AugmentSettings()


@dataclass(frozen=True)
class Change:
    """What is done to a view.

    Attributes:
        mirror: left and right change places.
        zoom: factor by which things grow.
        shift_x, shift_y: where the crop's centre lies right of and below the centre of the (mirrored) picture, as
            fractions of its width and height.
    """

    mirror: bool = False
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


UNCHANGED = Change()


def draw_changes(settings: AugmentSettings, rng: np.random.Generator, views: int) -> list[Change]:
    """One change per view of a canvas; all are mirrored or none."""
    mirror = bool(rng.random() < settings.mirror)
    draws = rng.uniform(-1, 1, (views, 3))
    return [
        Change(mirror, math.exp(a * math.log1p(settings.zoom)), b * settings.shift, c * settings.shift)
        for a, b, c in draws.tolist()
    ]


def change_view(change: Change, picture: Image.Image, pose: Pose) -> tuple[Image.Image, Pose]:
    """A changed view of the same size; edges are replicated where the crop reaches beyond the picture.

    Args:
        change: what to do; mirroring comes first.
        picture: RGB, W x H.
        pose: in the picture's frame. Key points may leave it.
    """
    if change.mirror:
        picture, pose = ImageOps.mirror(picture), pose.mirror()
    if (change.zoom, change.shift_x, change.shift_y) != (1.0, 0.0, 0.0):
        window = _window(change, picture.width, picture.height)
        pose = pose.crop(window[0], window[1], pose.width, pose.height).scale(change.zoom, change.zoom)
        picture = _cut(picture, window)
    return picture, pose


def _window(change: Change, width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the crop in the picture."""
    centre_x, centre_y = width * (0.5 + change.shift_x), height * (0.5 + change.shift_y)
    half_width, half_height = width / change.zoom / 2, height / change.zoom / 2
    return centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height


def _cut(picture: Image.Image, window: tuple[float, float, float, float]) -> Image.Image:
    """A part of a picture, which may reach beyond it, in the picture's own size."""
    left, top, right, bottom = window
    beyond = max(-left, -top, right - picture.width, bottom - picture.height, 0.0)
    margin = math.ceil(beyond)
    padding = ((margin, margin), (margin, margin), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(picture), padding, mode="edge")) if margin else picture
    box = (left + margin, top + margin, right + margin, bottom + margin)
    return padded.resize(picture.size, Image.Resampling.BICUBIC, box=box)
