"""Cutting pieces out of the template's surface along smooth curves, so that hems stay clean in any pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Piece:
    """Part of the body's surface, worn at some distance from it.

    Every vertex lies on an edge of the body mesh: (1 - alpha) * first + alpha * second.

    Attributes:
        first, second: int (n,) body vertices.
        alpha: float32 (n,) in [0, 1].
        offset: float32 (n,) metres along the normal.
        faces: int (m, 3).
        material: id of the material of all faces.
    """

    first: np.ndarray
    second: np.ndarray
    alpha: np.ndarray
    offset: np.ndarray
    faces: np.ndarray
    material: int


def cut_surface(faces: np.ndarray, field: np.ndarray, offset: np.ndarray, material: int) -> Piece:
    """Keep the part of a surface where a field over the vertices is positive.

    Args:
        faces: (m, 3) triangles.
        field: (n,) over the body's vertices; triangles are cut where it changes sign.
        offset: (n,) metres.
        material: id given to the piece.
    """
    inside = field[faces] > 0
    count = inside.sum(1)
    whole = faces[count == 3]
    corners = [_vertex(whole)]
    for kept in (1, 2):
        chosen = count == kept
        triangle = faces[chosen]
        lone_mask = inside[chosen] if kept == 1 else ~inside[chosen]
        lone = lone_mask.argmax(1)
        a, b, c = (np.take_along_axis(triangle, ((lone + k) % 3)[:, None], 1)[:, 0] for k in range(3))
        if kept == 1:
            corners.append(np.stack([_vertex(a), _edge(a, b, field), _edge(a, c, field)], 1))
        else:
            corners.append(np.stack([_edge(a, b, field), _vertex(b), _vertex(c)], 1))
            corners.append(np.stack([_edge(a, b, field), _vertex(c), _edge(a, c, field)], 1))
    first, second, alpha, merged = _merge(np.concatenate(corners))
    return Piece(first, second, alpha, offset[first] * (1 - alpha) + offset[second] * alpha, merged, material)


def signed_distance(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance (n,) of points (n, 2) to a closed polygon (k, 2), positive inside."""
    x, y = points.T
    distance = np.full(len(points), np.inf)
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        along_x, along_y, dx, dy = x1 - x0, y1 - y0, x - x0, y - y0
        share = np.clip((dx * along_x + dy * along_y) / (along_x * along_x + along_y * along_y), 0, 1)
        distance = np.minimum(distance, np.sqrt((dx - share * along_x) ** 2 + (dy - share * along_y) ** 2))
        slope = along_x / (along_y or 1e-9)
        inside ^= ((y >= y0) != (y >= y1)) & (x < x0 + dy * slope)
    return np.where(inside, distance, -distance)


def _vertex(a: np.ndarray) -> np.ndarray:
    """A vertex of the body as a place on an edge: first, second, alpha."""
    return np.stack([a, a, np.zeros_like(a)], -1).astype(np.float64)


def _edge(a: np.ndarray, b: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The point between two vertices where the field is zero."""
    return np.stack([a, b, field[a] / (field[a] - field[b])], -1).astype(np.float64)


def _merge(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Equal corners become one vertex."""
    flat = corners.reshape(-1, 3).copy()
    swapped = flat[:, 0] > flat[:, 1]
    flat[swapped] = np.stack([flat[swapped, 1], flat[swapped, 0], 1 - flat[swapped, 2]], 1)
    first = flat[:, 0].astype(np.int64)
    is_whole = flat[:, 0] == flat[:, 1]
    # Nine of ten corners are vertices of the body, which a table tells apart: sorting all corners takes twice as long.
    used = np.zeros(first.max(initial=0) + 1, bool)
    used[first[is_whole]] = True
    whole, on_edge = np.flatnonzero(used), flat[~is_whole]
    _, index, edge = np.unique(_key(on_edge), return_index=True, return_inverse=True)
    unique = np.concatenate([np.stack([whole, whole, np.zeros_like(whole)], 1), on_edge[index]])
    order = np.argsort(_key(unique))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    inverse = rank[(np.cumsum(used) - 1)[first]]
    inverse[~is_whole] = rank[len(whole) + edge]
    unique = unique[order]
    return (
        unique[:, 0].astype(np.int64),
        unique[:, 1].astype(np.int64),
        unique[:, 2].astype(np.float32),
        inverse.reshape(-1, 3),
    )


def _key(corners: np.ndarray) -> np.ndarray:
    """A number per place (n,), by which vertices are sorted."""
    key: np.ndarray = (corners[:, 0] * 65536 + corners[:, 1]) * 16384 + np.rint(corners[:, 2] * 16383)
    return key
