"""The place of a shoot as a seed draws it: kind and colours of wall and floor, their textures, the light, a stool.

Textures are tones in metres of wall and floor, so that a closer or lower camera sees the same place. Colours are display
values 0..1. Source: own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_LATTICE = 32


@dataclass(frozen=True, eq=False)
class Shoot:
    """One place with its light.

    Attributes:
        kind: a key of `BACKDROPS`.
        wall, floor, accent, seat: colours (3,).
        wall_distance: metres behind the person.
        scale: size of the texture's elements relative to the usual one.
        falloff: how much darker the wall gets per square metre away from its middle.
        light: (3,) unit vector towards the key light.
        tint: (3,) colour of the key light around 1.
        shadow: strength of the shadows, 0..1.
        lattice: (32, 32) random values -1..1 from which soft textures are interpolated.
    """

    kind: str
    wall: np.ndarray
    floor: np.ndarray
    accent: np.ndarray
    seat: np.ndarray
    wall_distance: float
    scale: float
    falloff: float
    light: np.ndarray
    tint: np.ndarray
    shadow: float
    lattice: np.ndarray

    @property
    def plain(self) -> bool:
        """Whether wall and floor are one sheet without texture."""
        return self.kind in _PLAIN_WEIGHTS


@lru_cache(maxsize=16)
def make_shoot(seed: int, plain: float = 0.0) -> Shoot:
    """The place, light and stool that belong to a seed.

    Args:
        seed: 0 or more.
        plain: share of seeds that get a plain ground (see `World.plain`).
    """
    rng = np.random.default_rng([seed, 0x5CE7E])
    on_plain = plain > 0 and rng.random() < plain
    weights = _PLAIN_WEIGHTS if on_plain else _WEIGHTS
    shares = np.array(list(weights.values()))
    kind = list(weights)[rng.choice(len(shares), p=shares / shares.sum())]
    azimuth, elevation = math.radians(rng.uniform(-55, 55)), math.radians(rng.uniform(42, 70))
    light = np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
    )
    warmth = rng.normal(0, 0.012 if on_plain else 0.03)
    return Shoot(
        kind=kind,
        wall=_plain_colour(rng, kind) if on_plain else _muted_colour(rng, kind),
        floor=_muted_colour(rng, "floor"),
        accent=_muted_colour(rng, "accent"),
        seat=rng.uniform(0.2, 0.85) * np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.6, 1.0)]),
        wall_distance=rng.uniform(1.1, 2.5) if BACKDROPS[kind][1] else rng.uniform(3.0, 5.0),
        scale=rng.uniform(0.8, 1.4),
        falloff=_FALLOFF.get(kind, 0.025),
        light=light,
        tint=np.array([1 + warmth, 1.0, 1 - warmth]),
        shadow=rng.uniform(0.25, 0.55),
        lattice=rng.uniform(-1, 1, (_LATTICE, _LATTICE)).astype(np.float32),
    )


def _plain_colour(rng: np.random.Generator, kind: str) -> np.ndarray:
    """A studio's ground: white, a light grey, or coloured paper, half of it muted and half saturated."""
    if kind == "white":
        return np.full(3, rng.uniform(0.95, 0.99))
    if kind == "grey" or (kind == "sweep" and rng.random() < 0.5):
        return rng.uniform(0.68, 0.90) + rng.normal(0, 0.006, 3)
    saturated = kind == "paper" and rng.random() < 0.5
    saturation = rng.uniform(0.35, 0.70) if saturated else rng.uniform(0.08, 0.25)
    return np.array(hsv_to_rgb(rng.random(), saturation, rng.uniform(0.60, 0.92)))


def _muted_colour(rng: np.random.Generator, purpose: str) -> np.ndarray:
    """Mostly greys and pale tones as in studios; bricks are reddish or whitewashed, the outdoors is green to blue."""
    if purpose == "white":
        base = np.full(3, 0.97)
    elif purpose == "brick":
        base = rng.choice([[0.58, 0.34, 0.27], [0.66, 0.48, 0.38], [0.82, 0.80, 0.77], [0.45, 0.40, 0.38]])
    elif purpose == "outdoors":
        base = rng.choice([[0.45, 0.58, 0.38], [0.62, 0.70, 0.74], [0.68, 0.62, 0.50], [0.50, 0.60, 0.66]])
    elif purpose == "floor":
        base = rng.choice([[0.72, 0.71, 0.70], [0.55, 0.43, 0.33], [0.50, 0.50, 0.52], [0.80, 0.76, 0.70]])
    elif purpose == "accent":
        base = 0.65 * rng.uniform(0.25, 0.95) + 0.35 * rng.uniform(0.15, 0.9, 3)
    elif rng.random() < 0.7:
        base = np.full(3, rng.choice([0.95, 0.90, 0.83, 0.74, 0.62]))
    else:
        base = 0.78 + 0.17 * rng.uniform(-1, 1, 3)
    return np.clip(np.asarray(base) * (1 + rng.normal(0, 0.02, 3)), 0, 1)


def lattice_noise(shoot: Shoot, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth noise of amplitude 1 with one lattice point per unit, repeating after 32."""
    u0, v0 = np.floor(u), np.floor(v)
    fu, fv = u - u0, v - v0
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    iu, iv = u0.astype(np.int32) % _LATTICE, v0.astype(np.int32) % _LATTICE
    ju, jv = (iu + 1) % _LATTICE, (iv + 1) % _LATTICE
    noise = shoot.lattice
    near = noise[iv, iu] * (1 - fu) + noise[iv, ju] * fu
    far = noise[jv, iu] * (1 - fu) + noise[jv, ju] * fu
    blended: np.ndarray = near * (1 - fv) + far * fv
    return blended


def _lines(coordinate: np.ndarray, period: float, width: float, footprint: np.ndarray) -> np.ndarray:
    """1 on lines of a width every period (metres), softened to the size of a pixel, so that nothing shimmers."""
    soft = np.maximum(footprint, width)
    distance = abs((coordinate / period + 0.5) % 1.0 - 0.5) * period
    coverage: np.ndarray = np.clip(1.5 - distance / soft, 0, 1) * (width / soft)
    return coverage


Texture = Callable[[Shoot, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _plaster(shoot: Shoot, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    scale = 3.0 / shoot.scale
    return 0.035 * lattice_noise(shoot, u * scale, v * scale) + 0.025 * lattice_noise(shoot, u * 9 + 7, v * 9 + 3)


def _concrete(shoot: Shoot, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    seams = _lines(u, 1.2 * shoot.scale, 0.012, footprint) + _lines(v, 0.9 * shoot.scale, 0.012, footprint)
    tone: np.ndarray = (
        0.10 * lattice_noise(shoot, u * 1.7, v * 1.7) + 0.05 * lattice_noise(shoot, u * 6, v * 6) - 0.2 * seams
    )
    return tone


def _brick(shoot: Shoot, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    tall, wide = 0.10 * shoot.scale, 0.30 * shoot.scale
    row = np.floor(v / tall)
    along = u + 0.5 * wide * (row % 2)
    mortar = np.maximum(_lines(v, tall, 0.012, footprint), _lines(along, wide, 0.012, footprint))
    tone = shoot.lattice[row.astype(np.int32) % _LATTICE, np.floor(along / wide).astype(np.int32) % _LATTICE]
    bricks: np.ndarray = 0.09 * tone * (1 - mortar) + 0.22 * mortar
    return bricks


def _planks(shoot: Shoot, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    wide = 0.16 * shoot.scale
    tone = shoot.lattice[5, np.floor(u / wide).astype(np.int32) % _LATTICE]
    planks: np.ndarray = (
        0.06 * tone + 0.04 * lattice_noise(shoot, u * 18, v * 2) - 0.25 * _lines(u, wide, 0.008, footprint)
    )
    return planks


def _tiles(shoot: Shoot, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    side = 0.42 * shoot.scale
    grout = np.maximum(_lines(u, side, 0.010, footprint), _lines(v, side, 0.010, footprint))
    tone = shoot.lattice[np.floor(v / side).astype(np.int32) % _LATTICE, np.floor(u / side).astype(np.int32) % _LATTICE]
    tiles: np.ndarray = 0.03 * tone - 0.15 * grout
    return tiles


def _panels(shoot: Shoot, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    dado = np.clip((0.95 - v) / np.maximum(footprint, 0.02), 0, 1)
    panels: np.ndarray = (
        -0.10 * dado - 0.15 * _lines(v - 0.95, 50.0, 0.03, footprint) + 0.02 * lattice_noise(shoot, u * 4, v * 4)
    )
    return panels


def _bokeh(shoot: Shoot, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    return 0.22 * lattice_noise(shoot, u * 1.3, v * 1.3) + 0.10 * lattice_noise(shoot, u * 3 + 5, v * 3)


# Wall texture, floor texture; None for the floor: the wall's paper runs on over the floor (a studio's seamless sweep).
BACKDROPS: dict[str, tuple[Texture | None, Texture | None]] = {
    **dict.fromkeys(("white", "grey", "paper", "sweep"), (None, None)),
    "mottled": (_plaster, None),
    "plaster": (_plaster, _planks),
    "concrete": (_concrete, _concrete),
    "brick": (_brick, _concrete),
    "planks": (_planks, _planks),
    "tiles": (_plaster, _tiles),
    "panels": (_panels, _planks),
    "outdoors": (_bokeh, _concrete),
}
_WEIGHTS = {
    "white": 2.0, "sweep": 3.0, "mottled": 1.0, "plaster": 1.2, "concrete": 0.8, "brick": 0.7, "planks": 0.5,
    "tiles": 0.6, "panels": 0.7, "outdoors": 1.0,
}  # fmt: skip
_PLAIN_WEIGHTS = {"white": 0.24, "grey": 0.24, "paper": 0.36, "sweep": 0.16}
_FALLOFF = {"white": 0.008, "grey": 0.015, "paper": 0.015, "sweep": 0.045}


def stool(top: float, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A round stool: vertices (n, 3), normals (n, 3) and faces, standing on the floor, `top` metres high."""
    count, radius = 20, 0.17
    angle = 2 * np.pi * np.arange(count) / count
    rim = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], 1)
    vertices, normals, faces = [], [], []
    start = 0
    for low, high, share in ((0.0, top - 0.05, 0.75), (top - 0.05, top, 1.0)):
        ring = rim * radius * share
        vertices += [ring + (0, 0, low), ring + (0, 0, high), ring + (0, 0, high), np.array([[0.0, 0.0, high]])]
        normals += [rim, rim, np.tile([0.0, 0.0, 1.0], (count + 1, 1))]
        here = np.arange(count)
        following = (here + 1) % count
        faces += [
            start + np.stack([here, following, here + count], 1),
            start + np.stack([following, following + count, here + count], 1),
            start + np.stack([here + 2 * count, following + 2 * count, np.full(count, 3 * count)], 1),
        ]
        start += 3 * count + 1
    return np.concatenate(vertices) + np.array([*centre[:2], 0.0]), np.concatenate(normals), np.concatenate(faces)
