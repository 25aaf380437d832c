"""Which key points of a view can be seen. Source: own.

A key point lies inside the body, so the surface in front of it is compared with it in two ways: it must belong to the
same limb, and it must not be much nearer to the camera than flesh and cloth explain.
"""

from __future__ import annotations

import numpy as np

from imagpose.people.body import LIMB_NAMES
from imagpose.people.outfit import PART_NAMES
from imagpose.people.raster import VisibilityBuffer

VISIBLE, HIDDEN, OUTSIDE = 1.0, 0.5, 0.0

# Per key point of the OpenPose order: limbs on which it may be seen, and the greatest depth (metres) below the surface.
_FACE = (("head",), 0.035)
_SEEN_ON: tuple[tuple[tuple[str, ...], float], ...] = (
    _FACE,
    (("torso", "head", "right_upper_arm", "left_upper_arm"), 0.20),
    *(
        (limbs, depth)
        for side in ("right", "left")
        for limbs, depth in (
            (("torso", f"{side}_upper_arm"), 0.13),
            ((f"{side}_upper_arm", f"{side}_forearm"), 0.09),
            ((f"{side}_forearm",), 0.075),
        )
    ),
    *(
        (limbs, depth)
        for side in ("right", "left")
        for limbs, depth in (
            (("torso", f"{side}_thigh"), 0.20),
            ((f"{side}_thigh", f"{side}_shin"), 0.14),
            ((f"{side}_shin",), 0.11),
        )
    ),
    *(_FACE,) * 4,
)
_ALLOWED = np.array([[limb in limbs for limb in LIMB_NAMES] for limbs, _ in _SEEN_ON])
_DEPTH = np.array([depth for _, depth in _SEEN_ON])
# Parts that may lie over eyes, ears and nose without hiding them; not hair that stands off.
_BARE_PARTS = tuple(PART_NAMES.index(part) for part in ("skin", "accessory"))
# The hairline runs close to the ears: an ear is hidden only by hair that stands off from it.
_HAIRLINE_DEPTH = 0.012
_ON_SKIN = np.array([limbs == ("head",) for limbs, _ in _SEEN_ON])


def keypoint_confidence(
    pixels: np.ndarray,
    depth: np.ndarray,
    buffer: VisibilityBuffer,
    faces: np.ndarray,
    limbs: np.ndarray,
    parts: np.ndarray,
) -> np.ndarray:
    """Confidence of each key point: 1 visible, 0.5 hidden, 0 outside of the picture.

    Args:
        pixels: (18, 2) key points in pixels of the buffer; depth: (18,) along the viewing axis.
        buffer: what is seen through each pixel.
        faces: (triangles, 3) of the mesh; limbs: (vertices,) index into `LIMB_NAMES`.
        parts: (H, W) part of each pixel of the buffer.
    """
    height, width = buffer.triangle.shape
    column, row = np.floor(pixels).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = column.clip(0, width - 1), row.clip(0, height - 1)
    triangle, part = buffer.triangle[row, column], parts[row, column]
    limb = limbs[faces[triangle, 0]]
    seen = inside & (part > 0) & _ALLOWED[np.arange(len(pixels)), limb]
    covered = _ON_SKIN & ~np.isin(part, _BARE_PARTS)
    seen &= depth - buffer.depth[row, column] <= np.where(covered, _HAIRLINE_DEPTH, _DEPTH)
    return np.where(seen, VISIBLE, np.where(inside, HIDDEN, OUTSIDE))
