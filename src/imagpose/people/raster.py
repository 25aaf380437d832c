"""A deterministic z-buffer rasteriser in numpy that writes a visibility buffer.

For every pixel it stores which triangle is seen, the perspective-correct barycentric coordinates and the depth; colours
are computed afterwards, once per visible pixel ("deferred shading"). All triangles are handled at once: each one is
expanded into rows and then into the pixels that it may cover, and the nearest surviving candidate of a pixel is found by
an integer maximum, so that the result does not depend on any order of summation. Source: own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Pixel centres that lie on an edge shared by two triangles may fall outside of both by rounding; this slack closes the
# crack (both triangles then cover the centre, and the usual depth rule decides).
EDGE_SLACK = 1e-5
_TRIANGLE_BITS = 31
# The columns that a triangle covers in a row are narrowed by its edges before its pixels are tested: 2.5 times fewer tests
# than for all pixels of its box, half the time. Narrowing may err by float32 rounding. By edges that are not flatter than
# `_FLAT` (rise over extent), in triangles no larger than `_NARROWED` pixels, it errs by less than 0.016 pixels:
# about 10 * 6e-8 * extent / _FLAT. `_MARGIN` is twice that, so no pixel is lost.
_FLAT, _NARROWED, _MARGIN = 0.02, 256.0, 1 / 32


@dataclass(frozen=True)
class VisibilityBuffer:
    """What is seen through every pixel of a (height, width) picture.

    Attributes:
        triangle: int64 (height, width), index of the visible triangle, -1 where nothing is seen.
        barycentric: float32 (height, width, 3), perspective-correct weights of its three corners (0 where empty).
        depth: float32 (height, width), distance along the viewing axis in metres, +inf where empty.
    """

    triangle: np.ndarray
    barycentric: np.ndarray
    depth: np.ndarray


def rasterize(
    pixels: np.ndarray,
    depth: np.ndarray,
    faces: np.ndarray,
    height: int,
    width: int,
    one_sided: np.ndarray | None = None,
) -> VisibilityBuffer:
    """Find the nearest triangle for every pixel centre.

    Args:
        pixels: float (vertices, 2), x to the right and y downwards; the centre of the first pixel is (0.5, 0.5).
        depth: float (vertices,), distance along the viewing axis; triangles with a corner at depth <= 0 are dropped.
        faces: integer (triangles, 3), either winding.
        height, width: size of the picture in pixels.
        one_sided: bool (triangles,), those that are seen only where their corners run counter-clockwise in the picture.

    Returns:
        The visibility buffer. Of two triangles at equal depth the one with the lower index wins.
    """
    triangles = _drawable(pixels, depth, faces, height, width, one_sided)
    owner, pixel, weights = _covered_pixels(triangles, width)
    inverse_depth = weights[0] + weights[1] + weights[2]
    # Positive floats are ordered like their bit patterns: nearer (larger 1/depth) is the larger integer, and the lower
    # bits break ties in favour of the lower triangle index.
    face = triangles.index[owner]
    key = (inverse_depth.view(np.int32).astype(np.int64) << _TRIANGLE_BITS) | ((1 << _TRIANGLE_BITS) - 1 - face)
    best = np.full(height * width, -1, dtype=np.int64)
    np.maximum.at(best, pixel, key)
    winner = np.flatnonzero(best[pixel] == key)

    triangle = np.full(height * width, -1, dtype=np.int64)
    barycentric = np.zeros((height * width, 3), dtype=np.float32)
    nearest = np.full(height * width, np.inf, dtype=np.float32)
    pixel, inverse_depth = pixel[winner], inverse_depth[winner]
    triangle[pixel] = face[winner]
    for corner in range(3):
        barycentric[pixel, corner] = weights[corner][winner] / inverse_depth
    nearest[pixel] = 1.0 / inverse_depth
    return VisibilityBuffer(
        triangle.reshape(height, width), barycentric.reshape(height, width, 3), nearest.reshape(height, width)
    )


@dataclass(frozen=True)
class _Triangles:
    """Triangles whose bounding box holds a pixel centre, arrays (n,).

    Attributes:
        index: int64, which of the mesh's triangles.
        x, y: float32, the first corner. depth: float32 of the three corners.
        second, third: float32, change of the second and third corner's barycentric coordinate per pixel along x and y.
        reach: float32, pixels along x over which the barycentric coordinate of each corner falls from 1 to 0, negative
            where it rises; 0 for an edge that must not narrow the rows.
        left, right, top, bottom: int64, first and last columns and rows of the bounding box.
    """

    index: np.ndarray
    x: np.ndarray
    y: np.ndarray
    depth: tuple[np.ndarray, ...]
    second: tuple[np.ndarray, np.ndarray]
    third: tuple[np.ndarray, np.ndarray]
    reach: tuple[np.ndarray, ...]
    left: np.ndarray
    right: np.ndarray
    top: np.ndarray
    bottom: np.ndarray


def _drawable(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, height: int, width: int, one_sided: np.ndarray | None
) -> _Triangles:
    x, y = (np.ascontiguousarray(axis, dtype=np.float32) for axis in pixels.T)
    corners = np.ascontiguousarray(faces.T)
    (x0, x1, x2), (y0, y1, y2) = x[corners], y[corners]
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    drawable = np.abs(area) > 1e-9 if one_sided is None else (np.abs(area) > 1e-9) & (~one_sided | (area < 0))
    shown = np.flatnonzero(drawable)
    corners = corners[:, shown]
    (x0, x1, x2), (y0, y1, y2) = x[corners], y[corners]
    depths = depth.astype(np.float32)[corners]
    lowest_x, highest_x = _least(x0, x1, x2), _most(x0, x1, x2)
    lowest_y, highest_y = _least(y0, y1, y2), _most(y0, y1, y2)
    left = np.clip(np.ceil(lowest_x - 0.5), 0, width).astype(np.int64)
    right = np.clip(np.floor(highest_x - 0.5), -1, width - 1).astype(np.int64)
    top = np.clip(np.ceil(lowest_y - 0.5), 0, height).astype(np.int64)
    bottom = np.clip(np.floor(highest_y - 0.5), -1, height - 1).astype(np.int64)

    # Most triangles of a fine mesh drop out: no pixel centre lies in their box.
    kept = np.flatnonzero((right >= left) & (bottom >= top) & (_least(*depths) > 0))
    (x0, x1, x2), (y0, y1, y2) = (tuple(corner[kept] for corner in axis) for axis in ((x0, x1, x2), (y0, y1, y2)))
    area = area[shown[kept]]
    inverse_area = 1.0 / area
    extent = np.maximum(highest_x - lowest_x, highest_y - lowest_y)[kept]
    rises = (y1 - y2, y2 - y0, y0 - y1)
    narrowing = (np.abs(rises) >= _FLAT * extent) & (extent <= _NARROWED)
    reach = np.divide(area, rises, where=narrowing, out=np.zeros_like(rises, dtype=np.float32))
    return _Triangles(
        index=shown[kept],
        x=x0,
        y=y0,
        depth=tuple(corner[kept] for corner in depths),
        # Barycentric coordinates are linear in the pixel: two gradients per triangle, then two products per pixel.
        second=((y2 - y0) * inverse_area, (x0 - x2) * inverse_area),
        third=((y0 - y1) * inverse_area, (x1 - x0) * inverse_area),
        reach=tuple(reach),
        left=left[kept],
        right=right[kept],
        top=top[kept],
        bottom=bottom[kept],
    )


def _covered_pixels(triangles: _Triangles, width: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """All (triangle, pixel) pairs whose pixel centre lies in the triangle.

    Returns:
        number of the triangle (n,), flat pixel index (n,), barycentric weights over depth, (n,) for each corner.
    """
    owner, row, start, count, second_there, third_there = _rows(triangles)
    shift = start - (np.cumsum(count) - count)  # from the place in the list of candidates to the column
    line = np.repeat(np.arange(len(owner)), count)
    triangle = owner[line]
    x = np.arange(len(line), dtype=np.int32) + shift.astype(np.int32)[line]
    dx = x.astype(np.float32) + np.float32(0.5) - triangles.x[triangle]
    second = dx * triangles.second[0][triangle] + second_there[line]
    third = dx * triangles.third[0][triangle] + third_there[line]
    first = 1.0 - second - third
    inside = np.flatnonzero(_least(first, second, third) >= -EDGE_SLACK)

    triangle = triangle[inside]
    pixel = inside + (row * width + shift)[line[inside]]
    coordinates = (first, second, third)
    weights = [c[inside].clip(0) / d[triangle] for c, d in zip(coordinates, triangles.depth, strict=True)]
    return triangle, pixel, weights


def _rows(triangles: _Triangles) -> tuple[np.ndarray, ...]:
    """Rows of pixels of all triangles: triangle, row, first column and number of columns, and the parts of the second and
    third barycentric coordinate that are the same all along the row; arrays (rows,)."""
    height = triangles.bottom - triangles.top + 1
    owner = np.repeat(np.arange(len(height)), height)
    row = np.arange(len(owner)) + (triangles.top - (np.cumsum(height) - height))[owner]
    dy = row.astype(np.float32) + np.float32(0.5) - triangles.y[owner]
    second, third = dy * triangles.second[1][owner], dy * triangles.third[1][owner]
    lowest = np.full(len(owner), -np.inf, np.float32)
    highest = np.full(len(owner), np.inf, np.float32)
    for reach, there in zip(triangles.reach, (1.0 - second - third, second, third), strict=True):
        along = reach[owner]
        edge = (-EDGE_SLACK - there) * along  # where the coordinate is -EDGE_SLACK, from the first corner on
        lowest = np.maximum(lowest, np.where(along > 0, edge, -np.inf))
        highest = np.minimum(highest, np.where(along < 0, edge, np.inf))
    left, right = triangles.left[owner], triangles.right[owner]
    x = triangles.x[owner] - np.float32(0.5)
    start = np.ceil(np.maximum(lowest + x - _MARGIN, left)).astype(np.int64)
    end = np.floor(np.minimum(highest + x + _MARGIN, right)).astype(np.int64)
    return owner, row, start, np.maximum(end - start + 1, 0), second, third


def _least(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    least: np.ndarray = np.minimum(np.minimum(first, second), third)
    return least


def _most(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    most: np.ndarray = np.maximum(np.maximum(first, second), third)
    return most
