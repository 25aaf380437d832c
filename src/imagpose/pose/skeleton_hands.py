"""Where a drawn hand begins: at a wrist whose own disc and the end of whose limb the hand covers.

ControlNet draws 21 blue points and 20 edges in full brightness, edge i of hue 18 i degrees; edges 0, 4, 8, 12 and 16 lead
from the wrist to the fingers. Own method.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from imagpose.pose.skeleton_evidence import Evidence

_ROOT_HUES = (0, 4, 7, 11, 14)  # classes of the edges at the wrist; no other edge has them
_BLUE = 12
_ROOM = 3.0  # radii between the end of a limb and the hand that covers it
_LEAST_POINTS, _LEAST_EDGES = 3.0, 6  # area of the points in discs, pixels of the edges
# From the middle of the edges at the wrist to the wrist, in units from there to the middle of all points, for hands whose
# fingers begin at half of their length.
_BACK = 0.6


def hand_root(evidence: Evidence, end: np.ndarray, hues: dict[int, int]) -> np.ndarray | None:
    """The wrist x, y of the hand that lies over the end of a limb; None where there is none.

    Args:
        evidence: the drawing.
        end: x, y of the limb's visible end.
        hues: class in the drawing of each class of the palette.
    """
    labels, _ = ndimage.label(ndimage.binary_dilation(evidence.bright, np.ones((3, 3), bool)), np.ones((3, 3)))
    reach = int(np.ceil(_ROOM * evidence.radius)) + 1
    left, top = (end - reach).astype(int).clip(0)
    near = labels[top : int(end[1]) + reach + 1, left : int(end[0]) + reach + 1]
    if not near.any():
        return None
    hand = (labels == np.bincount(near[near > 0]).argmax()) & evidence.bright
    points = hand & (evidence.hue == hues[_BLUE])
    edges = hand & np.isin(evidence.hue, [hues[index] for index in _ROOT_HUES])
    kinds = sum((edges & (evidence.hue == hues[index])).any() for index in _ROOT_HUES)
    if points.sum() < _LEAST_POINTS * np.pi * evidence.radius**2 or edges.sum() < _LEAST_EDGES or kinds < 3:
        return None
    of_edges, of_points = (np.argwhere(mask)[:, ::-1].mean(0) + 0.5 for mask in (edges, points))
    root: np.ndarray | None = of_edges - _BACK * (of_points - of_edges)
    return root
