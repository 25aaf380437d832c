"""Whether the parts of a person have the right colours, as an eye sees them."""

from __future__ import annotations

import numpy as np
from skimage.color import deltaE_cie76, rgb2lab

SMALLEST_PART = 100
"""Pixels that a part must have to count: the mean of fewer is decided by its rim."""


def part_colour_errors(picture: np.ndarray, truth: np.ndarray, parts: np.ndarray) -> dict[int, float]:
    """CIE 1976 colour difference between the mean colours of picture and truth, inside each of the truth's parts.

    Means are of the 8-bit sRGB values; L*a*b* has the white point D65. A difference of 2.3 is just seen.
    Source: CIE 15, dE*ab = sqrt(dL*^2 + da*^2 + db*^2); scikit-image's `deltaE_cie76`.

    Args:
        picture, truth: uint8 (H, W, 3).
        parts: (H, W), whole numbers; part of each pixel of the truth, 0 outside of the person.

    Returns:
        Per part of at least `SMALLEST_PART` pixels the difference; 0 is never among the keys.
    """
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    errors = {}
    for part in np.flatnonzero(sizes >= SMALLEST_PART).tolist():
        inside = parts == part
        one, other = (rgb2lab(own[inside].mean(0) / 255) for own in (picture, truth))
        errors[part] = float(deltaE_cie76(one, other))
    return errors
