"""Rigid things that hang on one bone: buns, ponytails, visors, bags, glasses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Solid:
    """A closed or thin mesh in the template's axes.

    Attributes:
        vertices, normals: (n, 3).
        faces: (m, 3).
        material: id of the material.
        bone: the bone it hangs on.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    material: int
    bone: str

    def tilted(self, degrees: float, pivot: tuple[float, float, float]) -> Solid:
        """Turned about the x axis through a point; positive lifts what is in front (negative y)."""
        angle = np.deg2rad(-degrees)
        turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        return replace(self, vertices=(self.vertices - pivot) @ turn.T + pivot, normals=self.normals @ turn.T)


def _sheet(rows: int, columns: int) -> np.ndarray:
    """Triangles of a grid of rows x columns vertices."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])


def ellipsoid(
    centre: tuple[float, float, float], radii: tuple[float, float, float], material: int, bone: str,
    power: float = 1.0,
) -> Solid:  # fmt: skip
    """Ellipsoid; a `power` below 1 makes it box-like (superellipsoid)."""
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 13), np.linspace(0, 2 * np.pi, 21), indexing="ij")

    def soft(values: np.ndarray) -> np.ndarray:
        softened: np.ndarray = np.sign(values) * abs(values) ** power
        return softened

    around = soft(np.sin(polar))
    unit = np.stack([around * soft(np.cos(azimuth)), around * soft(np.sin(azimuth)), soft(np.cos(polar))], -1)
    unit = unit.reshape(-1, 3)
    normals = np.sign(unit) * abs(unit) ** (2 / power - 1) / np.array(radii)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Solid(unit * radii + centre, normals, _sheet(13, 21), material, bone)


def box(centre: tuple[float, float, float], half: tuple[float, float, float], material: int, bone: str) -> Solid:
    """Box with soft edges."""
    return ellipsoid(centre, half, material, bone, power=0.35)


def ring(
    centre: tuple[float, float, float], half_axes: tuple[float, float], inner: float, material: int, bone: str
) -> Solid:
    """Flat ring or, with `inner` 0, disc that faces the front.

    Args:
        centre: metres.
        half_axes: along x and z, metres.
        inner: share of them that is open.
        material: id of the material.
        bone: see `Solid`.
    """
    angles = np.deg2rad(np.linspace(0, 360, 25))
    rim = np.stack([half_axes[0] * np.cos(angles), np.zeros(25), half_axes[1] * np.sin(angles)], 1)
    vertices = np.concatenate([rim, rim * inner]) + centre
    normals = np.broadcast_to([0.0, -1.0, 0.0], vertices.shape)
    return Solid(vertices, normals, _sheet(2, 25), material, bone)
