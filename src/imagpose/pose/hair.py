"""A head from where its photo does not show it: the hair that falls around it, the outline of its skull.

Places are in lengths of the trunk from the middle of the ears: u across, v upwards. What is above the hairline (hair, hats)
looks alike from all sides. Below it the back of a head has the colour of the temples, down to the nape, or as far as hair
falls beside the neck. Source: own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion

# Numbers are own, set by eye and by the error around the heads of rendered people.
HAIRLINE = 0.17
_NAPE = 0.22  # below the ears, where the hair of those with short hair ends
_RADIUS, _HEIGHT = 0.205, 0.25  # half the width and the height of a head with short hair
_SQUARE = 2.5  # exponent of its outline; 2 is an ellipse
_FACE = 0.12  # half of the width that is surely face
_TEMPLES = 0.13, 0.21, 0.02, 0.13  # from and to across, from and to upwards: above ears and the arms of glasses
_JAW = 0.13  # below the ears, from where on hair beside a face falls
_BESIDE = 0.12, 0.22  # from and to across, where long hair falls beside the neck
_LONGEST = 0.9
_STEP = 0.03  # of heights
_LEAST_PIXELS = 4
_ALIKE = 90  # levels, over three channels
_STAIN = 45  # levels up to which a pixel may be the ground, or skin, in another shade
_SAME_HUE = 0.06  # of a colour's shares of its brightness, up to which it may be skin in another light
_HAIRY = 0.3  # share of the pixels beside a neck that show hair


@dataclass(frozen=True)
class Hair:
    """Of a head in a picture.

    Attributes:
        heights, colours: (n,) v, rising, and (n, 3), the colour of the head from behind at each.
        skin: (3,) the colour of the face.
        length: how far hair reaches below the ears; at least the nape.
    """

    heights: np.ndarray
    colours: np.ndarray
    skin: np.ndarray
    length: float

    def colour_at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Colours uint8 (..., 3) of a head from behind: hair, and skin below the nape."""
        hair = np.stack([np.interp(v, self.heights, channel) for channel in self.colours.T], axis=-1)
        covered = skull(u, np.where(v < 0, v * (_HEIGHT / _NAPE), v)) | (v >= 0) | self.falls(u, v)
        return np.where(covered[..., None], hair, self.skin).round().astype(np.uint8)

    def falls(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """bool, where hair falls below the skull: round at its end."""
        end = np.maximum(_RADIUS - (self.length + v), 0) / _RADIUS
        inside: np.ndarray = np.abs(u) < _RADIUS * np.sqrt(np.maximum(1 - end**2, 0))
        return inside & (v <= 0) & (v > -self.length) & (self.length > _NAPE)

    def beside(self, picture: np.ndarray, ground: np.ndarray, v: np.ndarray) -> np.ndarray:
        """bool (h, w), pixels beside a head that show its hair.

        Args:
            picture, ground: uint8 (h, w, 3), with the person and without.
            v: (h, w), their heights.
        """
        far = _far(picture, self.colours[0])
        alike: np.ndarray = (v > -_NAPE) & (far < _ALIKE) & (far < _far(picture, ground))
        return alike


def skull(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """bool, inside the outline of a head with short hair, from any side."""
    inside: np.ndarray = np.abs(u / _RADIUS) ** _SQUARE + np.abs(v / _HEIGHT) ** _SQUARE < 1
    return inside


def find_hair(picture: np.ndarray, ground: np.ndarray, own: np.ndarray, u: np.ndarray, v: np.ndarray) -> Hair | None:
    """The hair of a head that is seen from the front or the side; None where nothing of it is seen.

    Args:
        picture, ground: uint8 (h, w, 3) around the head, and the same without the person.
        own: bool (h, w), pixels that show the person.
        u, v: (h, w), their places.
    """
    aside, inner = np.abs(u), binary_erosion(own)  # outlines are mixed with the ground
    face = picture[own & (aside < _FACE) & (np.abs(v) < _FACE)]
    if not len(face):
        return None
    skin = np.median(face, axis=0)
    heights, colours = [], []
    for low in np.arange(HAIRLINE, 0.6, _STEP):
        level = picture[inner & (v >= low) & (v < low + _STEP) & (aside < _TEMPLES[1])]
        if len(level) >= _LEAST_PIXELS:
            heights.append(low + _STEP / 2)
            colours.append(np.median(level, axis=0))
    heights, colours = _without_forehead(heights, colours, skin)
    left, right, bottom, top = _TEMPLES
    clear = inner & (aside > left) & (_far(picture, ground) > _STAIN) & (_far(picture, skin) > _STAIN)  # no ears
    temples = picture[clear & (v > bottom) & (v < top) & (aside < right)]
    if colours:
        falling = picture[clear & (v > -_NAPE) & (v < -_JAW) & (aside < _BESIDE[1])]
        falling = falling[_far(falling, colours[0]) < _ALIKE]
        if len(falling) >= 3 * _LEAST_PIXELS:  # no hat: what has another colour above are glasses and ears
            temples = falling
        if _same_hue(colours[-1], skin):  # bald
            temples = temples[~_same_hue(temples, skin)]
    if len(temples) >= _LEAST_PIXELS:
        heights, colours = [bottom, top, *heights], [np.median(temples, axis=0)] * 2 + colours
    if not heights:
        return None
    return Hair(np.array(heights), np.array(colours), skin, _length(picture, ground, u, v, colours[0], skin))


def _without_forehead(
    heights: list[float], colours: list[np.ndarray], skin: np.ndarray
) -> tuple[list[float], list[np.ndarray]]:
    """Levels of a crown without those that are more like the skin than like its top."""
    if not heights:
        return heights, colours
    top = colours[-1]
    kept = [place for place, colour in enumerate(colours) if _far(colour, top) <= _far(colour, skin)]
    return [heights[place] for place in kept], [colours[place] for place in kept]


def _same_hue(colours: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """bool (...), which of colours (..., 3) are the skin's in another light."""
    shares = colours / np.maximum(colours.sum(axis=-1, keepdims=True, dtype=np.float32), 1)
    alike: np.ndarray = np.abs(shares - skin / max(skin.sum(), 1)).sum(axis=-1) < _SAME_HUE
    return alike


def _length(
    picture: np.ndarray, ground: np.ndarray, u: np.ndarray, v: np.ndarray, colour: np.ndarray, skin: np.ndarray
) -> float:
    """How far hair of a colour falls beside a neck."""
    far = _far(picture, colour)
    alike = (far < _ALIKE) & (far < _far(picture, ground)) & (far < _far(picture, skin))
    beside = (np.abs(u) > _BESIDE[0]) & (np.abs(u) < _BESIDE[1])
    length = _NAPE
    for low in np.arange(-_NAPE - _STEP, -_LONGEST, -_STEP):
        level = beside & (v >= low) & (v < low + _STEP)
        if not level.any() or alike[level].mean() < _HAIRY:
            break
        length = -low
    return float(length)


def _far(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance of colours (..., 3), in levels over three channels."""
    distance: np.ndarray = np.abs(one.astype(np.float32) - other).sum(axis=-1)
    return distance
