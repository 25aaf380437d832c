"""A deterministic z-buffer rasteriser in numpy that writes a visibility buffer.

For every pixel it stores which triangle is seen, the perspective-correct barycentric coordinates and the depth; colours
are computed afterwards, once per visible pixel ("deferred shading"). All triangles are handled at once: each one is
expanded into the pixels of its bounding box, and the nearest surviving candidate of a pixel is found by an integer
maximum, so that the result does not depend on any order of summation. Source: own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["VisibilityBuffer", "rasterize"]

# Pixel centres that lie on an edge shared by two triangles may fall outside of both by rounding; this slack closes the
# crack (both triangles then cover the centre, and the usual depth rule decides).
EDGE_SLACK = 1e-5
_TRIANGLE_BITS = 31


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
    triangle = np.full(height * width, -1, dtype=np.int64)
    barycentric = np.zeros((height * width, 3), dtype=np.float32)
    nearest = np.full(height * width, np.inf, dtype=np.float32)

    face, pixel, weights, inverse_depth = _covered_pixels(pixels, depth, faces, height, width, one_sided)
    # Positive floats are ordered like their bit patterns: nearer (larger 1/depth) is the larger integer, and the lower
    # bits break ties in favour of the lower triangle index.
    key = (inverse_depth.view(np.int32).astype(np.int64) << _TRIANGLE_BITS) | ((1 << _TRIANGLE_BITS) - 1 - face)
    best = np.full(height * width, -1, dtype=np.int64)
    np.maximum.at(best, pixel, key)
    winner = np.flatnonzero(best[pixel] == key)

    pixel, inverse_depth = pixel[winner], inverse_depth[winner]
    triangle[pixel] = face[winner]
    barycentric[pixel] = weights[winner] / inverse_depth[:, None]
    nearest[pixel] = 1.0 / inverse_depth
    return VisibilityBuffer(
        triangle.reshape(height, width), barycentric.reshape(height, width, 3), nearest.reshape(height, width)
    )


def _covered_pixels(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, height: int, width: int, one_sided: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All (triangle, pixel) pairs whose pixel centre lies in the triangle.

    Returns:
        triangle index (n,), flat pixel index (n,), barycentric weights over depth (n, 3), and their sum 1/depth (n,).
    """
    corner_pixels, corner_depth = pixels.astype(np.float32), depth.astype(np.float32)
    corners = [corner_pixels[faces[:, corner]].T for corner in range(3)]
    (x0, y0), (x1, y1), (x2, y2) = corners
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    drawable = np.abs(area) > 1e-9 if one_sided is None else (np.abs(area) > 1e-9) & (~one_sided | (area < 0))
    shown = np.flatnonzero(drawable)
    (x0, y0), (x1, y1), (x2, y2) = (corner[:, shown] for corner in corners)
    depth0, depth1, depth2 = (corner_depth[faces[shown, corner]] for corner in range(3))
    left = np.clip(np.ceil(_least(x0, x1, x2) - 0.5), 0, width).astype(np.int32)
    right = np.clip(np.floor(-_least(-x0, -x1, -x2) - 0.5), -1, width - 1).astype(np.int32)
    top = np.clip(np.ceil(_least(y0, y1, y2) - 0.5), 0, height).astype(np.int32)
    bottom = np.clip(np.floor(-_least(-y0, -y1, -y2) - 0.5), -1, height - 1).astype(np.int32)

    # From here on only the triangles whose bounding box holds a pixel centre: most of a fine mesh drops out.
    kept = np.flatnonzero((right >= left) & (bottom >= top) & (_least(depth0, depth1, depth2) > 0))
    columns, rows = (right - left + 1)[kept], (bottom - top + 1)[kept]
    left, top, boxes = left[kept], top[kept], columns * rows
    owner = np.repeat(np.arange(len(kept), dtype=np.int32), boxes)
    in_box = np.arange(len(owner), dtype=np.int32) - np.repeat(np.cumsum(boxes) - boxes, boxes).astype(np.int32)
    row = in_box // columns[owner]
    x = left[owner] + in_box - row * columns[owner]
    y = top[owner] + row

    # Barycentric coordinates are linear in the pixel: two gradients per triangle, then two products per pixel.
    inverse_area = 1.0 / area[shown[kept]]
    second_x, second_y = (y2 - y0)[kept] * inverse_area, (x0 - x2)[kept] * inverse_area
    third_x, third_y = (y0 - y1)[kept] * inverse_area, (x1 - x0)[kept] * inverse_area
    dx = x.astype(np.float32) + np.float32(0.5) - x0[kept][owner]
    dy = y.astype(np.float32) + np.float32(0.5) - y0[kept][owner]
    second = dx * second_x[owner] + dy * second_y[owner]
    third = dx * third_x[owner] + dy * third_y[owner]
    first = 1.0 - second - third
    inside = np.flatnonzero(_least(first, second, third) >= -EDGE_SLACK)

    face = kept[owner[inside]]
    weights = np.stack(
        [
            first[inside].clip(0) / depth0[face],
            second[inside].clip(0) / depth1[face],
            third[inside].clip(0) / depth2[face],
        ],
        1,
    )
    pixel = y[inside].astype(np.int64) * width + x[inside]
    return shown[face], pixel, weights, weights[:, 0] + weights[:, 1] + weights[:, 2]


def _least(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    return np.minimum(np.minimum(first, second), third)
