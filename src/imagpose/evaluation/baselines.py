"""What a model must beat: pictures made without one."""

from __future__ import annotations

import numpy as np

from imagpose.people import View

__all__ = ["mean_colour_drawing"]


def mean_colour_drawing(source: View, target: View) -> np.ndarray:
    """The target's true part mask, every part filled with its mean colour in the source.

    An oracle, for it knows the target's outline; it knows no texture, no shading and no face. A part that the source
    does not show gets the mean colour of the whole person, the background that of the source's background.

    Args:
        source, target: views of one person, of any sizes.

    Returns:
        uint8 (H, W, 3) of the target's size.
    """
    person = source.picture[source.foreground].mean(0)
    colours = np.tile(person, (max(int(source.parts.max()), int(target.parts.max())) + 1, 1))
    for part in np.unique(source.parts):
        colours[part] = source.picture[source.parts == part].mean(0)
    return colours.round().astype(np.uint8)[target.parts]
