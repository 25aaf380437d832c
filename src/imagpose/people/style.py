"""How a view is drawn: photographic shading, and four ways of drawing by hand. Source: own.

A style turns what the renderer knows of every pixel into a picture. It draws person and ground alike, and nothing in it
is drawn at random: the same person, motion and camera give the same picture. Patterns of lines and papers are fixed to
the picture, facets to the body and to the ground.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from imagpose.people.backdrop import Ground, shade, towards_camera
from imagpose.people.outfit import Material
from imagpose.people.shoot import Shoot, lattice_noise
from imagpose.people.world import STYLE_NAMES

_PAPER = np.array([0.96, 0.945, 0.91], np.float32)
_TOON_LINE = np.array([0.09, 0.07, 0.09], np.float32)
_INK_TONE = np.array([0.45, 0.40, 0.15], np.float32)  # red apart from blue, which are equally bright
_INK = np.array([0.10, 0.10, 0.12], np.float32)
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_LINE = 1.5 / 256  # least width of outlines, share of the picture's height
_STEP = 0.045  # metres between surfaces of one material behind each other, from which on a line is drawn
# What is painted on the face is not outlined: eyes and glasses would drown in ink.
_ON_FACE = (Material.EYE, Material.GLASSES)


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen in the fine picture, whose sides are `sampling` times the picture's; one row per covered pixel.

    Attributes:
        sampling: fine pixels per pixel, along each side.
        pixel: int (n,), flat index into the fine picture. coarse: of the picture's pixel that holds it.
        material: uint8 (n,), `Material`, or another number for what is not the person.
        normals: (n, 3) in the world. depth: (n,) metres along the viewing axis.
        rest: (n, 3), place on the body in its rest pose, metres.
        albedo: float32 (n, 3), 0..1. specular: float32 (n,), 0..1.
        forward: (3,) viewing direction.
    """

    sampling: int
    pixel: np.ndarray
    coarse: np.ndarray
    material: np.ndarray
    normals: np.ndarray
    depth: np.ndarray
    rest: np.ndarray
    albedo: np.ndarray
    specular: np.ndarray
    forward: np.ndarray


def draw_view(style: str, shoot: Shoot, ground: Ground, seen: Seen) -> np.ndarray:
    """The picture, uint8 (H, W, 3).

    Args:
        style: one of `world.STYLE_NAMES`.
        shoot: place and light.
        ground: the place in this view.
        seen: what stands in front of it.
    """
    return np.round(_STYLES[style](shoot, ground, seen).clip(0, 1) * 255).astype(np.uint8)


def _photographic(shoot: Shoot, ground: Ground, seen: Seen) -> np.ndarray:
    return _over(ground.picture, seen, shade(shoot, seen.normals, seen.albedo, seen.specular, seen.forward))


def _toon(shoot: Shoot, ground: Ground, seen: Seen) -> np.ndarray:
    """Colours in three steps of light, dark outlines; the ground in few tones, its shadow in one."""
    towards_light = towards_camera(seen.normals, seen.forward) @ shoot.light.astype(np.float32)
    steps = np.where(towards_light > 0.42, 1.0, np.where(towards_light > 0.0, 0.84, 0.66)).astype(np.float32)
    flat = 0.78 + 0.22 * ((ground.light - 0.83) / 0.06).clip(0, 1)
    picture = _over(_in_tones(shoot, ground, 12) * flat[..., None], seen, _vivid(seen.albedo, 1.15) * steps[:, None])
    return _with_ink(picture, _outlines(ground, seen, _LINE), _TOON_LINE)


def _ink(shoot: Shoot, ground: Ground, seen: Seen) -> np.ndarray:
    """Black lines on paper; garments in four flat greys, shaded sides and shadows hatched."""
    height, width = ground.light.shape
    grey = seen.albedo @ _INK_TONE
    wash = 0.12 + 0.86 * np.round(grey * 5) / 5
    skin = np.isin(seen.material, (Material.SKIN, *_ON_FACE))
    bare = seen.material == Material.SKIN
    if bare.any():  # what is drawn on a face stands out from the skin's own tone, a light one
        usual = np.median(grey[bare])
        pale = 0.66 + 0.06 * np.round(5 * usual)
        wash[skin] = np.where(grey[skin] < 0.80 * usual, 0.25, np.where(grey[skin] > 1.25 * usual, 1.0, pale))
    row, column = np.divmod(seen.pixel, width * seen.sampling)
    shaded = towards_camera(seen.normals, seen.forward) @ shoot.light.astype(np.float32) < 0.12
    wash[shaded & ~skin & _hatched(row, column, height * seen.sampling, 1)] *= 0.35

    rows, columns = np.indices((height, width), dtype=np.float32)
    place = _in_tones(shoot, ground, 5) @ _LUMINANCE
    tone = np.where(place > 0.55, 1.0, np.where(place > 0.35, 0.86, 0.7)).astype(np.float32)
    tone[(ground.light < 0.86) & _hatched(rows, columns, height, -1)] *= 0.45
    grain = 0.015 * lattice_noise(shoot, columns * (96 / width), rows * (128 / height))
    paper = _PAPER * (tone + grain)[..., None]
    return _with_ink(_over(paper, seen, wash[:, None] * _PAPER), _outlines(ground, seen, _LINE), _INK)


def _low_poly(shoot: Shoot, ground: Ground, seen: Seen) -> np.ndarray:
    """Flat facets: every cell of a tetrahedral grid over the body (and over wall and floor) has one normal, one light."""
    head = seen.rest[:, 2] > 0.6  # whose facets are smaller, for the face's sake
    size = np.where(head, 0.06, 0.14).astype(np.float32)[:, None]
    facet, mean = _facets(
        2 * (_cells(seen.rest @ _SKEW / size) + seen.material) + head, towards_camera(seen.normals, seen.forward)
    )
    normals = mean / np.linalg.norm(mean, axis=1, keepdims=True).clip(1e-6)
    light = 0.64 + 0.48 * (normals @ shoot.light).clip(-0.3, 1) + 0.06 * normals[:, 2]
    colours = _vivid(seen.albedo, 1.1) * light.astype(np.float32)[facet, None]

    shown = ground.picture.reshape(-1, 3)
    cells = _cells(ground.points.reshape(3, -1).T @ _SKEW / np.float32(0.55)) + ground.on_floor.ravel()
    # Facets of a plain ground could not be told apart: each has a tone of its own.
    facet, mean = _facets(cells, shown * (0.955 + 0.01 * (cells % 7)).astype(np.float32)[:, None])
    place = (0.75 * mean[facet] + 0.25 * shown).reshape(ground.colours.shape)
    return _over(place, seen, colours)


def _watercolour(shoot: Shoot, ground: Ground, seen: Seen) -> np.ndarray:
    """Pale washes with wandering soft edges, pigment that gathers at edges and in clouds, on rough paper."""
    height, width = ground.light.shape
    unit = height / 256
    towards_light = towards_camera(seen.normals, seen.forward) @ shoot.light.astype(np.float32)
    tones = 0.80 + 0.22 * towards_light.clip(-0.4, 1)
    wash = 0.12 * _PAPER + 0.88 * _vivid(seen.albedo, 1.2) * tones[:, None]
    place = 0.5 * _PAPER + 0.5 * ground.colours * (0.4 + 0.6 * ground.light[..., None])
    picture = _over(place.astype(np.float32), seen, wash)

    rows, columns = np.indices((height, width), dtype=np.float32)

    def clouds(size: float, offset: float) -> np.ndarray:
        """Noise whose spots are about `size` pixels wide at a height of 256."""
        # Turned, so that the lattice's rows do not lie along the picture's.
        u, v = (0.8 * columns - 0.6 * rows) / (size * unit), (0.6 * columns + 0.8 * rows) / (size * unit)
        return lattice_noise(shoot, u + offset, v + offset)

    drift = np.stack([rows + 1.3 * unit * clouds(9, 3), columns + 1.3 * unit * clouds(9, 11)])
    wandering = np.stack([map_coordinates(picture[..., c], drift, order=1, mode="nearest") for c in range(3)], -1)
    soft = gaussian_filter(wandering, (0.6 * unit, 0.6 * unit, 0))
    wide = gaussian_filter(soft, (2.5 * unit, 2.5 * unit, 0))
    gathered = (abs(soft - wide).mean(-1) * 1.2).clip(0, 0.2)
    pigment = 1 - soft  # how much of the paper's light is taken
    pigment *= (1 + 0.18 * clouds(26, 5) + 0.12 * clouds(8, 17) + gathered * 2)[..., None]
    painted: np.ndarray = 1 - pigment + 0.012 * clouds(1.7, 0)[..., None]
    return painted


_STYLES: dict[str, Callable[[Shoot, Ground, Seen], np.ndarray]] = dict(
    zip(STYLE_NAMES, (_photographic, _toon, _ink, _low_poly, _watercolour), strict=True)
)
# Turned against the body's axes, so that no facet ends along the middle of the face or of the trunk.
_SKEW = np.linalg.qr(np.array([[1.0, 0.4, 0.3], [-0.3, 1.0, 0.5], [0.2, -0.6, 1.0]]))[0].astype(np.float32)


def _over(place: np.ndarray, seen: Seen, colours: np.ndarray) -> np.ndarray:
    """The ground (H, W, 3) with the covered fine pixels' colours (n, 3) over it, averaged down; float (H, W, 3)."""
    height, width, _ = place.shape
    size, samples = height * width, seen.sampling**2
    free = 1 - np.bincount(seen.coarse, minlength=size) / samples
    result = np.empty((size, 3))
    for channel in range(3):
        sums = np.bincount(seen.coarse, colours[:, channel], size)
        result[:, channel] = place[..., channel].ravel() * free + sums / samples
    return result.reshape(height, width, 3)


def _vivid(albedo: np.ndarray, amount: float) -> np.ndarray:
    """Colours with more (or less) distance from their grey."""
    grey = (albedo @ _LUMINANCE)[:, None]
    return (grey + amount * (albedo - grey)).clip(0, 1)


def _in_tones(shoot: Shoot, ground: Ground, tones: int) -> np.ndarray:
    """The ground's colours in steps of brightness; a plain one in a single tone. float32 (H, W, 3)."""
    if shoot.plain:
        return np.broadcast_to((shoot.wall * shoot.tint).clip(0, 1).astype(np.float32), ground.colours.shape)
    brightness = (ground.colours @ _LUMINANCE).clip(0.02)
    toned: np.ndarray = ground.colours * ((np.floor(brightness * tones) + 0.5) / tones / brightness)[..., None]
    return toned


def _hatched(rows: np.ndarray, columns: np.ndarray, height: int, direction: int) -> np.ndarray:
    """Whether pixels lie on diagonal lines 4.5 pixels apart (at a height of 256), a third of them on a line."""
    hatched: np.ndarray = ((columns + direction * rows) * (256 / height) / (4.5 * math.sqrt(2))) % 1.0 < 0.36
    return hatched


def _outlines(ground: Ground, seen: Seen, width: float) -> np.ndarray:
    """Share of each pixel (H, W) that lines cover: along silhouettes, materials, and limbs in front of others.

    Args:
        width: of the lines, share of the picture's height.
    """
    height, picture_width = ground.light.shape
    shape = (height * seen.sampling, picture_width * seen.sampling)
    material = np.where(np.isin(seen.material, _ON_FACE), Material.SKIN, seen.material)
    labels = np.zeros(shape, np.int16)
    labels.ravel()[seen.pixel] = 1 + material.astype(np.int16)
    depth = np.zeros(shape, np.float32)
    depth.ravel()[seen.pixel] = seen.depth
    lines = np.zeros(shape, bool)
    down = (labels[1:] != labels[:-1]) | (abs(depth[1:] - depth[:-1]) > _STEP)
    across = (labels[:, 1:] != labels[:, :-1]) | (abs(depth[:, 1:] - depth[:, :-1]) > _STEP)
    lines[1:] |= down
    lines[:, 1:] |= across
    for turn in range(max(1, math.ceil(width * shape[0])) - 1):  # wider by one pixel, in turn to both sides
        grown = lines.copy()
        if turn % 2 == 0:
            grown[:-1] |= lines[1:]
            grown[:, :-1] |= lines[:, 1:]
        else:
            grown[1:] |= lines[:-1]
            grown[:, 1:] |= lines[:, :-1]
        lines = grown
    parts = lines.reshape(height, seen.sampling, picture_width, seen.sampling)
    coverage: np.ndarray = parts.sum((1, 3), dtype=np.float32) / seen.sampling**2
    return coverage


def _with_ink(picture: np.ndarray, lines: np.ndarray, colour: np.ndarray) -> np.ndarray:
    inked: np.ndarray = picture + lines[..., None] * (colour - picture)
    return inked


def _cells(places: np.ndarray) -> np.ndarray:
    """Number of the tetrahedron that holds each place (n, 3): unit cubes, each cut into six by the order of the fractions.

    int64 (n,); multiples of 256, so that a number up to 255 can be added.
    """
    low = np.floor(places)
    x, y, z = (places - low).T
    order = (x > y) + 2 * (y > z) + 4 * (x > z)
    i, j, k = low.astype(np.int64).T + 512
    cells: np.ndarray = (((i * 1024 + j) * 1024 + k) * 8 + order) * 256
    return cells


def _facets(cells: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n,) numbered from 0 without gaps, and the mean of values (n, 3) of each, (facets, 3)."""
    unique, facet, area = np.unique(cells, return_inverse=True, return_counts=True)
    sums = [np.bincount(facet, values[:, axis], len(unique)) for axis in range(3)]
    return facet, np.stack(sums, 1) / area[:, None]
