"""How a shoot looks through a camera: wall and floor with the person's shadow, and the light on surfaces.

The wall stands behind the person at a fixed distance and the floor is z = 0. Colours are display values 0..1. Source: own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imagpose.people.camera import Projection
from imagpose.people.shoot import BACKDROPS, Shoot

_SHADOW_CELLS, _SHADOW_CELL = 88, 0.04
_AMBIENT, _KEY, _FILL = 0.36, 0.72, 0.16


@dataclass(frozen=True, eq=False)
class Ground:
    """The empty place as a camera sees it.

    Attributes:
        colours: float32 (H, W, 3), 0..1, lit but without the person's shadow.
        light: float32 (H, W), the share of light that the person leaves, 1 outside of the shadow.
        points: float32 (3, H, W), where in the world wall or floor are.
        on_floor: bool (H, W).
    """

    colours: np.ndarray
    light: np.ndarray
    points: np.ndarray
    on_floor: np.ndarray

    @property
    def picture(self) -> np.ndarray:
        """float32 (H, W, 3), 0..1, with the shadow."""
        lit: np.ndarray = self.colours * self.light[..., None]
        return lit


def paint_backdrop(shoot: Shoot, projection: Projection, vertices: np.ndarray, height: int, width: int) -> Ground:
    """The place with the person's shadow, without the person.

    Args:
        shoot: place and light.
        projection: the camera at this size.
        vertices: (n, 3) of everything that stands on the floor, in the world.
        height, width: pixels.
    """
    points, distance, on_floor = _hits(shoot, projection, height, width)
    x, y, z = points
    wall_texture, floor_texture = BACKDROPS[shoot.kind]
    # Light falls off towards the edges of the wall; the sweep has no edge between wall and floor.
    tone = 1 + np.float32(shoot.falloff) * (1.2 - (x**2 + 0.6 * (z - 1.3) ** 2).clip(0, 6))
    if floor_texture is None:
        tone *= 1 - 0.06 * np.where(on_floor, 1.0, (1 - z / 0.35).clip(0, 1))
    footprint = distance / np.float32(projection.focal)
    if wall_texture is not None:
        where = ~on_floor if floor_texture else np.ones_like(on_floor)
        tone[where] += wall_texture(shoot, x[where], z[where], footprint[where])
    colours = np.stack([tone * channel for channel in (shoot.wall * shoot.tint).astype(np.float32)], -1)
    if floor_texture is not None:
        floor_tone = floor_texture(shoot, x[on_floor], y[on_floor], footprint[on_floor] * 2)
        colours[on_floor] = (1.0 + floor_tone - 0.02 * y[on_floor])[:, None] * (shoot.floor * shoot.tint)
        if shoot.kind in ("plaster", "panels"):
            skirting = ~on_floor & (z < 0.09)
            colours[skirting] = 0.5 * colours[skirting] + 0.5 * shoot.accent * shoot.tint
    light = np.ones((height, width), np.float32)
    light[on_floor] -= _shadow(shoot, vertices, points[:2, on_floor])
    return Ground(colours.clip(0, 1), light, points, on_floor)


def _hits(shoot: Shoot, projection: Projection, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the ray of each pixel ends: points (3, H, W), distances (H, W), whether on the floor (H, W)."""
    right, forward, up = projection.rotation.astype(np.float32)
    across = ((np.arange(width) + 0.5 - projection.centre[0]) / projection.focal).astype(np.float32)
    along = ((projection.centre[1] - np.arange(height) - 0.5) / projection.focal).astype(np.float32)[:, None]
    rays = [across * right[axis] + (forward[axis] + along * up[axis]) for axis in range(3)]
    origin = projection.position.astype(np.float32)
    to_floor = np.where(rays[2] < 0, -origin[2] / np.minimum(rays[2], np.float32(-1e-6)), np.float32(np.inf))
    to_wall = (np.float32(shoot.wall_distance) - origin[1]) / np.maximum(rays[1], np.float32(1e-6))
    distance = np.minimum(to_floor, to_wall)
    points = np.stack([origin[axis] + rays[axis] * distance for axis in range(3)])
    return points, distance, to_floor < to_wall


def shade(
    shoot: Shoot, normals: np.ndarray, albedo: np.ndarray, specular: np.ndarray, forward: np.ndarray
) -> np.ndarray:
    """Light surfaces: a key light, a weak fill from the other side, the sky above, a glossy highlight.

    Args:
        normals: (n, 3) unit vectors in the world; those of inner sides of open cloth are turned to the camera.
        albedo: (n, 3) 0..1; specular: (n,) 0..1.
        forward: (3,) viewing direction.

    Returns:
        float (n, 3), display values 0..1.
    """
    normals = towards_camera(normals, forward)
    fill_light = np.array([-shoot.light[0], shoot.light[1], 0.3])
    fill_light /= np.linalg.norm(fill_light)
    halfway = shoot.light - forward
    halfway /= np.linalg.norm(halfway)
    key = (normals @ shoot.light.astype(np.float32)).clip(0)
    light = _AMBIENT * (1 + 0.3 * normals[:, 2]) + _FILL * (normals @ fill_light.astype(np.float32)).clip(0)
    gloss = 0.5 * specular * np.square(np.square(np.square((normals @ halfway.astype(np.float32)).clip(0)))) ** 3
    # Channel by channel: numpy's loop over three channels per pixel takes twice as long.
    colours = np.empty((3, len(albedo)), np.float32)
    for channel, tint in enumerate(shoot.tint.astype(np.float32)):
        shaded = np.square(albedo[:, channel].clip(0, 1)) * (light + _KEY * key * tint) + gloss
        colours[channel] = np.sqrt(shaded.clip(0, 1))  # gamma 2 instead of 2.2: a root costs a tenth of a power
    return colours.T


def towards_camera(normals: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Normals (n, 3) with those of inner sides of open cloth turned to the camera, float32."""
    normals = normals.astype(np.float32)
    away = normals @ forward.astype(np.float32) > 0.15
    normals[away] *= -1
    return normals


@lru_cache(maxsize=4)
def _blur(sigma: float) -> np.ndarray:
    """Matrix that blurs a row of the shadow's grid by a Gaussian of `sigma` metres."""
    position = np.arange(_SHADOW_CELLS) * _SHADOW_CELL
    kernel = np.exp(-0.5 * ((position[:, None] - position) / sigma) ** 2)
    return kernel * _SHADOW_CELL / (sigma * math.sqrt(2 * math.pi))


def _shadow(shoot: Shoot, vertices: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """How much light (0..1) the person takes from points (2, n) of the floor: contact shadow and cast shadow."""
    x, y, z = vertices.T
    slant = shoot.light[:2] / shoot.light[2]
    corner = [np.median(axis) - _SHADOW_CELLS * _SHADOW_CELL / 2 for axis in (x, y)]
    near_floor = np.exp(-z.clip(0) / 0.06)
    contact = _splat(x - corner[0], y - corner[1], near_floor)
    darkness = 0.75 * np.minimum(_blur(0.05) @ np.minimum(contact, 1.5) @ _blur(0.05), 1.0)
    # The further from the foot of what casts it, the more a shadow dissolves.
    cast = x - z * slant[0] - corner[0], y - z * slant[1] - corner[1]
    faded = np.minimum(_splat(*cast, np.exp(-z.clip(0) / 0.8)), 1.0)
    soft = _blur(0.13) @ faded @ _blur(0.13)
    darkness = 1 - (1 - darkness * (0.5 + 0.5 * shoot.shadow)) * (1 - shoot.shadow * soft)

    column, row = ((axis - low) / _SHADOW_CELL - 0.5 for axis, low in zip(floor, corner, strict=True))
    last = _SHADOW_CELLS - 1
    inside = np.flatnonzero((column >= 0) & (column < last) & (row >= 0) & (row < last))
    column, row = column[inside], row[inside]
    left, top = column.astype(np.int64), row.astype(np.int64)
    fx, fy = column - left, row - top
    cell, darkness = top * _SHADOW_CELLS + left, darkness.ravel()
    value = np.zeros(floor.shape[1])
    value[inside] = (darkness[cell] * (1 - fx) + darkness[cell + 1] * fx) * (1 - fy) + (
        darkness[cell + _SHADOW_CELLS] * (1 - fx) + darkness[cell + _SHADOW_CELLS + 1] * fx
    ) * fy
    return value


def _splat(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of weights per cell of the shadow's grid, (rows along y, columns along x)."""
    column, row = (np.floor(axis / _SHADOW_CELL).astype(np.int64) for axis in (x, y))
    inside = (column >= 0) & (column < _SHADOW_CELLS) & (row >= 0) & (row < _SHADOW_CELLS)
    flat = (row * _SHADOW_CELLS + column)[inside]
    size = _SHADOW_CELLS * _SHADOW_CELLS
    return np.bincount(flat, weights=weights[inside], minlength=size).reshape(_SHADOW_CELLS, _SHADOW_CELLS)
