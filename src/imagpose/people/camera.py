"""Which views of a person are taken: where the camera stands and what part of the person it frames.

World axes: metres, x to the right of the picture, y away from the camera, z up, the floor at z = 0. The camera always
stands in front (at negative y) and the person turns on the spot by the view's yaw: 0 faces the camera, 90 faces the
right edge of the picture, 180 shows the back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imagpose.people.world import check_style, find_world

# "full" frames the whole body, "upper" from the head to the middle of the thighs, "close" from the head to the waist.
FRAMINGS = ("full", "upper", "close")
_NECK, _HIPS, _KNEES = 1, (8, 11), (9, 12)
_LOWEST_CAMERA = 0.15
_WIDEST = 0.97
_LEAST_HEIGHT = 1.25
_QUADRANTS = (0.0, 180.0, 90.0, 270.0)


@dataclass(frozen=True)
class Camera:
    """How a person is framed; independent of the picture's size.

    Attributes:
        framing: one of `FRAMINGS`.
        pitch: degrees, positive looks down on the person from above.
        distance: metres from the camera to the middle of what is framed.
        fill: fraction of the picture's height that the framed part takes.
        shift: the framed part's middle relative to the picture's, as fractions of width and height.
    """

    framing: str
    pitch: float
    distance: float
    fill: float
    shift: tuple[float, float]

    def __post_init__(self) -> None:
        if self.framing not in FRAMINGS:
            raise ValueError(f"framing is {self.framing!r}; it must be one of {', '.join(FRAMINGS)}")


@dataclass(frozen=True)
class ViewSpec:
    """Everything that determines a view of a given identity.

    Attributes:
        pose_seed: seed of the pose (`motion.sample_motion`).
        yaw: degrees by which the person has turned, 0 faces the camera.
        camera: how the person is framed.
        background: seed of the shoot: backdrop, floor and lights.
        world: key of `world.WORLDS`, from which the shoot is drawn.
        style: one of `world.STYLE_NAMES`.
    """

    pose_seed: int
    yaw: float
    camera: Camera
    background: int
    world: str = "studio"
    style: str = "photographic"


@dataclass(frozen=True)
class Projection:
    """A pinhole camera with its principal point anywhere (as in a cropped photograph).

    Attributes:
        position: (3,) in the world, metres.
        rotation: (3, 3), rows are the camera's right, forward and up axes in the world.
        focal: pixels.
        centre: (2,) principal point in pixels.
    """

    position: np.ndarray
    rotation: np.ndarray
    focal: float
    centre: np.ndarray

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (n, 3) to pixels (n, 2) and depths along the viewing axis (n,)."""
        right, forward, up = ((points - self.position) @ self.rotation.T).T
        pixels = np.stack(
            [self.centre[0] + self.focal * right / forward, self.centre[1] - self.focal * up / forward], 1
        )
        return pixels, forward


def turn(degrees: float) -> np.ndarray:
    """Rotation (3, 3) about the vertical by `degrees`; a person who faced -y then faces the picture's right at 90."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def sample_camera(rng: np.random.Generator, shares: Mapping[str, float], framing: str | None = None) -> Camera:
    """Draw a camera at eye to hip height from 3 to 7 m, with `framing` or one drawn by its share (see `World`)."""
    drawn = FRAMINGS[rng.choice(len(FRAMINGS), p=[shares[name] for name in FRAMINGS])]
    pitch = float(np.clip(rng.normal(3.0, 5.0), -7.0, 16.0))
    return Camera(
        framing=framing or drawn,
        pitch=pitch,
        distance=float(rng.uniform(3.0, 7.0)),
        fill=float(rng.uniform(0.80, 0.94)),
        shift=(float(np.clip(rng.normal(0.0, 0.02), -0.05, 0.05)), float(rng.uniform(-0.01, 0.02))),
    )


def sample_view_specs(
    identity_seed: int, count: int, world: str = "studio", style: str | None = None
) -> list[ViewSpec]:
    """Specifications of the first `count` views of an identity; those of fewer views are a prefix of those of more.

    View 0 is a full-body front view. Every four views in a row, counted from 0, look from the front, the back and both
    sides (each within 45 degrees, in random order after view 0). All views of an identity share one shoot and style.

    Args:
        identity_seed: 0 or more.
        count: number of views.
        world: key of `world.WORLDS`; it says which grounds, framings and styles are drawn, and how often.
        style: one of `world.STYLE_NAMES` in place of the one that the world draws.

    Raises:
        ValueError: no such world or style.
    """
    chosen = find_world(world)
    style = chosen.style(identity_seed) if style is None else check_style(style)
    rng = np.random.default_rng([identity_seed, 0x71E35])
    background = int(rng.integers(2**31))
    specs: list[ViewSpec] = []
    while len(specs) < count:
        order = rng.permutation(4) if specs else np.array([0, *(1 + rng.permutation(3))])
        for quadrant in order:
            first = not specs
            jitter = float(np.clip(rng.normal(0, 10), -20, 20)) if first else float(rng.uniform(-45, 45))
            specs.append(
                ViewSpec(
                    pose_seed=int(rng.integers(2**31)),
                    yaw=(_QUADRANTS[quadrant] + jitter) % 360.0,
                    camera=sample_camera(rng, chosen.framing, framing="full" if first else None),
                    background=background,
                    world=world,
                    style=style,
                )
            )
    return specs[:count]


def frame_person(camera: Camera, vertices: np.ndarray, keypoints: np.ndarray, height: int, width: int) -> Projection:
    """Aim and zoom a camera at a person standing in the world.

    Args:
        camera: the framing wanted.
        vertices: (n, 3) the person's mesh in the world.
        keypoints: (18, 3) the person's key points in the world, OpenPose order.
        height, width: size of the picture in pixels.

    Returns:
        A projection in which the framed part takes `camera.fill` of the height and the framed part lies in the middle
        (plus `camera.shift`). A full body that would be wider than the picture is made smaller until it fits.
    """
    lowest, highest = vertices[:, 2].min(), vertices[:, 2].max()
    target = np.array([*keypoints[_NECK, :2], (lowest + highest) / 2])
    pitch = math.radians(camera.pitch)
    lowest_sine = (_LOWEST_CAMERA - target[2]) / camera.distance
    pitch = max(pitch, math.asin(max(-1.0, lowest_sine)))
    rotation = np.array(
        [[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]], dtype=np.float64
    )
    position = target - camera.distance * rotation[1]

    plane = Projection(position, rotation, 1.0, np.zeros(2))  # focal length 1: the picture plane in units of depth
    body, _ = plane.project(vertices)
    joints, _ = plane.project(keypoints)
    top, bottom = body[:, 1].min(), body[:, 1].max()
    if camera.framing != "full":
        above, below = (_HIPS, _KNEES) if camera.framing == "upper" else ((_NECK,), _HIPS)
        share = 0.5 if camera.framing == "upper" else 0.75
        cut = (1 - share) * joints[list(above), 1].mean() + share * joints[list(below), 1].mean()
        bottom = max(min(bottom, cut), top + 0.45 / camera.distance)
    else:  # who crouches is not brought nearer for it
        missing = max(_LEAST_HEIGHT / camera.distance - (bottom - top), 0.0)
        top, bottom = top - 0.7 * missing, bottom + 0.3 * missing
    shown = body[body[:, 1] <= bottom, 0] if camera.framing == "full" else joints[[2, 5], 0]
    left, right = shown.min(), shown.max()
    focal = camera.fill * height / (bottom - top)
    if camera.framing == "full":
        focal = min(focal, _WIDEST * width / (right - left))
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    if camera.framing != "full":  # the head stays under the upper edge; the body runs out of the lower one
        middle[1] = top + (0.5 - (1 - camera.fill) / 2) * height / focal
    centre = np.array([0.5 + camera.shift[0], 0.5 + camera.shift[1]]) * (width, height) - focal * middle
    return Projection(position, rotation, float(focal), centre)
