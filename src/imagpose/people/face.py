"""Faces that stay readable when a head is 25 pixels high: few, large features with contrast on every skin.

A pixel of a full-body view at 256x176 is about 8 mm. Eyes, brows and mouths are drawn larger than life, at least 12 mm
in their smaller direction, in colours chosen against the skin. Places are rest-pose coordinates of the template, so a
feature follows the face of every body. Source: own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imagpose.people.body import load_body
from imagpose.people.prints import Colour, luma
from imagpose.people.template import load_template, smoothstep

SKINS: tuple[Colour, ...] = (
    (0.96, 0.82, 0.73), (0.91, 0.73, 0.59), (0.83, 0.63, 0.48), (0.71, 0.51, 0.37), (0.56, 0.39, 0.28), (0.44, 0.29, 0.21),
    (0.34, 0.22, 0.16),
)  # fmt: skip
# Black, dark brown, brown, chestnut, red, blond, light blond, grey, white.
HAIRS: tuple[Colour, ...] = (
    (0.06, 0.05, 0.06), (0.17, 0.10, 0.06), (0.33, 0.19, 0.10), (0.48, 0.25, 0.12), (0.68, 0.27, 0.08), (0.76, 0.56, 0.26),
    (0.93, 0.80, 0.50), (0.52, 0.52, 0.54), (0.88, 0.87, 0.86),
)  # fmt: skip
_DARK_SKIN = 0.42
_LEAST_OUTLINE = 0.115  # contrast of hair and skin in luma, or the hair has no outline
_IRISES: tuple[Colour, ...] = ((0.16, 0.08, 0.04), (0.07, 0.26, 0.52), (0.08, 0.33, 0.17))
MOUTHS = ("neutral", "smile", "full", "grin")
BEARDS = ("none", "stubble", "full", "moustache", "goatee")

# Half axes of the white of an eye and radius of an iris, metres.
_EYE_WIDTH, _EYE_HEIGHT, _IRIS = 0.0195, 0.0098, 0.0098
_BROW_HALF_HEIGHT = 0.0065
_FRONT = -0.085  # the face lies at smaller y
_LEAST_CONTRAST = 0.18


@dataclass(frozen=True)
class Face:
    """Colours and shapes of a face.

    Attributes:
        skin, brow, beard_colour, iris, lips: 0..1.
        mouth: one of `MOUTHS`. beard: one of `BEARDS`.
        brow_height: metres above the usual place. brow_tilt: fall towards the temple, metres per metre.
        eye_scale: size of the eyes relative to the usual one.
    """

    skin: Colour
    brow: Colour
    beard_colour: Colour
    iris: Colour
    lips: Colour
    mouth: str
    beard: str
    brow_height: float
    brow_tilt: float
    eye_scale: float


@dataclass(frozen=True)
class _Landmarks:
    """Places on the template: |x| and z of an eye's middle, z of the mouth's middle and of the nose's base, metres."""

    eye: tuple[float, float]
    mouth: float
    nose: float


@lru_cache(maxsize=1)
def _landmarks() -> _Landmarks:
    body, vertices = load_body(), load_template().vertices
    eyes = vertices[np.unique(body.faces["eyes"])]
    middle = (eyes.min(0) + eyes.max(0)) / 2
    one = eyes[eyes[:, 0] > 0]
    lips = vertices[(body.lips > 0.5) & (vertices[:, 1] < _FRONT)]
    mouth = float((lips[:, 2].min() + lips[:, 2].max()) / 2)
    return _Landmarks(
        eye=(float((one[:, 0].min() + one[:, 0].max()) / 2), float(middle[2])),
        mouth=mouth,
        nose=mouth + 0.36 * (float(middle[2]) - mouth),
    )


def sample_face(rng: np.random.Generator, female: bool) -> tuple[Face, Colour]:
    """A face, and the colour of the hair that goes with it."""
    skin = SKINS[int(rng.integers(len(SKINS)))]
    dark = luma(skin) < _DARK_SKIN
    share = np.array([(3.0 if dark and index < 2 else 1.0) * outlined(hair, skin) for index, hair in enumerate(HAIRS)])
    hair = HAIRS[int(rng.choice(len(HAIRS), p=share / share.sum()))]
    grown = "none" if female else str(rng.choice(BEARDS, p=(0.45, 0.12, 0.21, 0.12, 0.10)))
    return Face(
        skin=skin,
        brow=facial_hair(hair, skin),
        beard_colour=facial_hair(hair, skin),
        iris=_IRISES[int(rng.choice(3, p=(0.8, 0.1, 0.1) if dark else (0.4, 0.35, 0.25)))],
        lips=lip_colour(skin, float(rng.random()) if female else 0.0),
        mouth=str(rng.choice(MOUTHS, p=(0.24, 0.36, 0.18, 0.22))),
        beard=grown,
        brow_height=float(rng.uniform(-0.002, 0.003)),
        brow_tilt=float(rng.uniform(-0.05, 0.40)),
        eye_scale=float(rng.uniform(0.94, 1.08)),
    ), hair


def outlined(hair: Colour, skin: Colour) -> bool:
    """Whether hair can be told from skin by its luma."""
    return abs(luma(hair) - luma(skin)) >= _LEAST_OUTLINE


def facial_hair(hair: Colour, skin: Colour) -> Colour:
    """The hair's colour, made darker until it stands out against the skin."""
    colour = np.array(hair) * 0.9
    dark = np.array((0.20, 0.11, 0.06) if max(hair) - min(hair) > 0.1 else (0.15, 0.15, 0.15))
    for _ in range(20):
        if abs(luma(_colour(colour)) - luma(skin)) >= _LEAST_CONTRAST:
            break
        colour = 0.85 * colour + 0.15 * dark
        dark = dark * 0.9
    return _colour(colour)


def lip_colour(skin: Colour, tint: float) -> Colour:
    """Darker and redder than light skins, lighter and rosier than dark ones; `tint` 0..1 is lipstick."""
    light = luma(skin)
    if light < 0.35:
        natural, painted = np.array((0.70, 0.40, 0.38)), np.array((0.92, 0.32, 0.42))
    else:
        natural = np.array(skin) * (0.72, 0.46, 0.46)
        painted = np.array((0.70, 0.06, 0.14)) * min(1.0, 0.45 + light)
    mixed = natural + tint * (painted - natural)
    return _colour(mixed)


def _colour(channels: np.ndarray) -> Colour:
    red, green, blue = channels.tolist()
    return red, green, blue


def paint_skin(face: Face, places: np.ndarray) -> np.ndarray:
    """Colours (n, 3) of skin and eyes.

    Args:
        face: whose.
        places: (n, 3) rest-pose coordinates on the template.
    """
    colours = np.repeat(np.array(face.skin, np.float32)[None], len(places), 0)
    on_face = np.flatnonzero((places[:, 1] < -0.03) & (places[:, 2] > 0.59))
    if len(on_face):
        colours[on_face] = _paint_face(face, places[on_face], colours[on_face])
    return colours


def _paint_face(face: Face, places: np.ndarray, colours: np.ndarray) -> np.ndarray:
    marks = _landmarks()
    side, y, z = abs(places[:, 0]), places[:, 1], places[:, 2]
    front = y < _FRONT
    cheeks = front * np.exp(-(((side - 0.045) / 0.02) ** 2) - ((z - marks.mouth - 0.035) / 0.02) ** 2)
    colours *= 1 + np.array([0.04, -0.05, -0.05], np.float32) * cheeks[:, None]
    under_nose = front & ((side / 0.019) ** 2 + ((z - marks.nose) / 0.0075) ** 2 < 1)
    colours[under_nose] *= 0.62

    if face.beard != "none":
        cover = _beard_cover(face.beard, side, y, z)[:, None]
        colours += cover * (np.array(face.beard_colour, np.float32) - colours)
    _paint_mouth(face, side, z, front, colours)

    along, up = side - marks.eye[0], z - marks.eye[1]
    width, height = _EYE_WIDTH * face.eye_scale, _EYE_HEIGHT * face.eye_scale
    # A dark crescent, thickest above, sets the white off from light skin.
    rim = (along / (width + 0.003)) ** 2 + ((up - 0.003) / (height + 0.0045)) ** 2 < 1
    white = (along / width) ** 2 + (up / height) ** 2 < 1
    iris = white & (along**2 + (up - 0.001) ** 2 < (_IRIS * face.eye_scale) ** 2)
    pupil = along**2 + up**2 < (0.5 * _IRIS) ** 2
    for shape, colour in (
        (rim, np.array(face.skin) * 0.25),
        (white, (0.97, 0.97, 0.96)),
        (iris, face.iris),
        (pupil, (0.02, 0.02, 0.02)),
    ):
        colours[shape & front] = colour

    brow = marks.eye[1] + 0.0285 + face.brow_height - face.brow_tilt * abs(along - 0.002)
    on_brow = front & (abs(z - brow) < _BROW_HALF_HEIGHT) & (abs(along - 0.001) < 0.0225)
    colours[on_brow] = face.brow
    return colours


def _beard_cover(beard: str, side: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Share (n,) of skin that the beard hides."""
    mouth = _landmarks().mouth
    lip = (abs(z - mouth - 0.0145 + 0.15 * side) < 0.0075) & (side < 0.034) & (y < _FRONT)
    chin = (side < 0.030) & (z < mouth + 0.010) & (y < -0.06)
    if beard == "moustache":
        return lip.astype(np.float32)
    if beard == "goatee":
        return (lip | chin).astype(np.float32)
    jaw_line = mouth + 0.022 + 0.5 * np.maximum(side - 0.035, 0)
    return ((z < jaw_line) | lip).astype(np.float32) * (0.45 if beard == "stubble" else 1.0)


def _paint_mouth(face: Face, side: np.ndarray, z: np.ndarray, front: np.ndarray, colours: np.ndarray) -> None:
    """Lips by type, in place; corners of a smile are higher than its middle."""
    half_width, half_height, bend = {
        "neutral": (0.026, 0.0075, 0.004),
        "smile": (0.031, 0.0080, 0.013),
        "full": (0.025, 0.0115, 0.004),
        "grin": (0.032, 0.0130, 0.012),
    }[face.mouth]
    across = side / half_width
    up = z - _landmarks().mouth - bend * (across**2 - 0.5)
    lips = front & (across**2 + (up / half_height) ** 2 < 1)
    colours[lips] = face.lips
    if face.mouth == "grin":
        teeth = front & ((side / (half_width - 0.006)) ** 2 + (up / (half_height - 0.0055)) ** 2 < 1)
        colours[teeth] = (0.95, 0.95, 0.93)
    elif face.mouth == "full":
        colours[lips & (up > 0.0)] *= 0.7


def calm_normals(normals: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Normals (n, 3) in which lids and lips no longer break the light, so that eyes and mouth keep their painted colours.

    Args:
        normals: (n, 3) unit vectors in the rest pose.
        places: (n, 3) rest-pose coordinates on the template.
    """
    marks = _landmarks()
    side, z = abs(places[:, 0]), places[:, 2]
    eye = ((side - marks.eye[0]) / 0.027) ** 2 + ((z - marks.eye[1] - 0.002) / 0.020) ** 2
    mouth = (side / 0.036) ** 2 + ((z - marks.mouth) / 0.018) ** 2
    share = smoothstep(1.3, 0.9, np.minimum(eye, mouth)) * (places[:, 1] < _FRONT) * (z > 0.59)
    smooth = np.stack([places[:, 0] / 0.10, np.full(len(places), -1.0), np.full(len(places), 0.25)], 1)
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True)
    calm = normals + share[:, None] * (smooth - normals)
    unit: np.ndarray = calm / np.maximum(np.linalg.norm(calm, axis=1, keepdims=True), 1e-9)
    return unit
