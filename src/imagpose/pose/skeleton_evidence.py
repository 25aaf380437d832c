"""What a skeleton drawing shows: sticks and discs of 18 hues, found as pixels.

The palette's 18 colours are full hues, 20 degrees apart, so that a pixel less its smallest channel is the drawing on black
whatever the (grey) ground: black, white, or transparent laid on white; white points of a face become black with it. Limbs
have 60 % of the joints' brightness, or somewhat more. R and B exchanged maps hue class k to 12 - k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

HUES = 18
_HUE_TOLERANCE = 0.46  # of a class's width
_FAINTEST = 55
_LIMBS, _JOINTS = 153, 255  # brightness that ControlNet's tools draw with
_STICK_BRIGHTEST, _DISC_DARKEST = 0.19, 0.26  # of the way from the limbs' brightness to the joints'
_BRIGHTEST_LIMBS = 230
_LIKE, _CLEAR = 10, 0.25  # so near is one brightness; share of the pixels up to the brightest limbs that must have it
_LEAST_PLAIN, _LARGEST_COLOURED = 0.5, 0.35
_LEAST_STICK_AREA, _LEAST_DISC_AREA, _ROUND = 6, 4, 1.4
_MOSTLY = 3  # times
_MOST_STICKS, _LEAST_SHARE, _LEAST_PART, _COVERED, _EXACT = 3, 0.25, 2, 0.95, 0.9
EIGHT = np.ones((3, 3), bool)  # a pixel and its eight neighbours
_WORKING_SIDE, _WHITE = 2200, 80


@dataclass(frozen=True)
class Stick:
    """A limb of one hue as its visible pixels show it: both ends (2, 2) x, y; the pixels' number."""

    ends: np.ndarray
    area: int

    @property
    def length(self) -> float:
        """Between the ends, in pixels."""
        return float(np.hypot(*(self.ends[1] - self.ends[0])))

    def distance(self, places: np.ndarray) -> np.ndarray:
        """Distance of places (n, 2) from the line through the ends."""
        along = (self.ends[1] - self.ends[0]) / max(self.length, 1e-6)
        offset = places - self.ends[0]
        across: np.ndarray = np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0])
        return across


@dataclass(frozen=True)
class Disc:
    """A spot of one hue in full brightness: its middle x, y, the pixels' number, and whether it is no line."""

    place: np.ndarray
    area: int
    is_round: bool


@dataclass(frozen=True)
class Evidence:
    """Sticks and discs by hue class, and the picture that they were found in.

    Attributes:
        sticks: of each hue, the largest first, those not much smaller after it.
        discs: all of each hue, the largest first.
        radius: of the sticks and discs, in pixels.
        coloured: bool (H, W), pixels of limbs.
        bright: bool (H, W), pixels in full brightness: joints and hands.
        white: bool (H, W), grey or white pixels on a dark ground, as the points of faces.
        drawn: bool (H, W), pixels on which anything is drawn, white points of a face included; one pixel wider.
        hue: int (H, W), class of each pixel, -1 where it has none.
        origin, scale: place in the whole picture = origin + place / scale.
    """

    sticks: dict[int, list[Stick]]
    discs: dict[int, list[Disc]]
    radius: float
    coloured: np.ndarray
    bright: np.ndarray
    white: np.ndarray
    drawn: np.ndarray
    hue: np.ndarray
    origin: np.ndarray
    scale: float

    @property
    def is_bright(self) -> bool:
        """Whether nearly all of what is drawn, in many hues, has the brightness of joints."""
        return len(self.discs) >= HUES / 2 and bool(self.bright.sum() > _MOSTLY * self.coloured.sum())


def collect_evidence(pixels: np.ndarray) -> Evidence:
    """Sticks and discs in RGB pixels, uint8 (H, W, 3).

    Raises:
        ValueError: no plain ground with coloured lines on it.
    """
    colours = (pixels - pixels.min(2, keepdims=True)).astype(np.float32)
    value = colours.max(2)
    drawn = ndimage.binary_opening(value >= _FAINTEST, np.ones((2, 2), bool))
    if not drawn.any():
        raise ValueError("no coloured limbs found in the picture")
    if drawn.mean() > _LARGEST_COLOURED or (value < _FAINTEST / 2).mean() < _LEAST_PLAIN:
        raise ValueError("not a skeleton picture: coloured limbs on a plain ground expected")
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    top, left = max(rows[0] - 8, 0), max(columns[0] - 8, 0)
    window = (slice(top, rows[-1] + 9), slice(left, columns[-1] + 9))
    factor = max(1, -(-max(colours[window].shape[:2]) // _WORKING_SIDE))
    colours, darkest = (_reduced(part[window].astype(np.float32), factor) for part in (colours, pixels.min(2)))
    value = colours.max(2)
    hue = _hue_classes(colours, value)
    limbs = _limb_brightness(value)
    bright = value >= limbs + _DISC_DARKEST * (_JOINTS - limbs)
    dim = (value >= _FAINTEST) & (value <= limbs + _STICK_BRIGHTEST * (_JOINTS - limbs))
    discs = {k: found for k in range(HUES) if (found := _discs(bright & (hue == k)))}
    white = darkest >= _WHITE
    white = white if white.mean() < _LEAST_PLAIN else np.zeros_like(white)  # of a white ground nothing is known
    anything = (value >= _FAINTEST / 2) | white
    anything, above = (ndimage.binary_dilation(mask, EIGHT) for mask in (anything, bright | white))
    sticks, disc_radius = {}, _disc_radius(discs)
    is_exact = bool(dim.any() and np.isin(value[dim], (limbs - 1, limbs)).mean() > _EXACT)
    for k in range(HUES):
        spots = _large_spots(bright & (hue == k), 0.5 * np.pi * disc_radius**2)
        ring = ndimage.binary_dilation(spots, EIGHT, 2)  # a disc's edge has the brightness of limbs
        found_sticks = _sticks(dim & (hue == k) & ~ring, disc_radius, anything, above, is_exact)
        if found_sticks:
            sticks[k] = found_sticks
    radius = max(disc_radius, _stick_radius(sticks))
    origin = np.array([left, top], np.float64)
    return Evidence(sticks, discs, radius, dim, bright, white, anything, hue, origin, 1 / factor)


def _limb_brightness(value: np.ndarray) -> int:
    """60 % of the joints', or what is more and most frequent: an editor in the browser draws limbs with 70 %."""
    counts = np.bincount(value.astype(int).ravel(), minlength=256)[: _BRIGHTEST_LIMBS + 1]
    counts[:_FAINTEST] = 0
    like = np.convolve(counts, np.ones(2 * _LIKE + 1, int), "same")
    is_clear = like.max() > _CLEAR * counts.sum()
    return max(_LIMBS, int(counts.argmax())) if is_clear else _LIMBS


def _reduced(colours: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of `factor` pixels, (H, W) or (H, W, 3)."""
    height, width = (side // factor for side in colours.shape[:2])
    cut = colours[: height * factor, : width * factor]
    reduced: np.ndarray = cut.reshape(height, factor, width, factor, *colours.shape[2:]).mean((1, 3))
    return reduced


def _hue_classes(colours: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Class 0..17 of each pixel's hue, -1 where there is none or it lies between two."""
    red, green, blue = np.moveaxis(colours / value.clip(1)[:, :, None], 2, 0)
    sector = np.where(
        (red >= green) & (red >= blue), (green - blue) % 6, np.where(green >= blue, blue - red + 2, red - green + 4)
    )
    position = sector * (HUES / 6)
    nearest = np.rint(position)
    sure = (np.abs(position - nearest) <= _HUE_TOLERANCE) & (value >= _FAINTEST)
    return np.where(sure, nearest % HUES, -1).astype(int)


def _components(mask: np.ndarray, least: int) -> list[np.ndarray]:
    """Places (n, 2) x, y of the pixels of each connected part, the largest first."""
    labels, count = ndimage.label(mask, EIGHT)
    if not count:
        return []
    rows, columns = np.nonzero(labels)
    order = np.argsort(labels[rows, columns], kind="stable")
    places = np.stack([columns, rows], 1)[order] + 0.5
    sizes = np.bincount(labels[labels > 0])[1:]
    parts = np.split(places, np.cumsum(sizes)[:-1])
    return sorted((part for part in parts if len(part) >= least), key=len, reverse=True)


def _large_spots(mask: np.ndarray, least: float) -> np.ndarray:
    labels, _ = ndimage.label(mask, EIGHT)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    large: np.ndarray = (sizes >= least)[labels]
    return large


def _discs(mask: np.ndarray) -> list[Disc]:
    return [_disc(part) for part in _components(mask, _LEAST_DISC_AREA)]


def _disc(places: np.ndarray) -> Disc:
    middle = places.mean(0)
    spread = ((places - middle) ** 2).sum(1).mean()  # of a full circle: its area / 2 pi
    return Disc(middle, len(places), bool(spread <= _ROUND * len(places) / (2 * np.pi)))


def _sticks(mask: np.ndarray, radius: float, drawn: np.ndarray, above: np.ndarray, is_exact: bool) -> list[Stick]:
    """The sticks of one hue, each put together from its parts, the largest first.

    Args:
        mask: the hue's pixels in the brightness of limbs.
        radius: of the discs.
        drawn, above: where anything is drawn, and where something that lies above all limbs (discs, hands, a face).
        is_exact: single pixels tell, since nothing is blurred or compressed.
    """
    parts = _components(mask, 1 if is_exact else _LEAST_PART)
    found: list[Stick] = []
    while parts and len(parts[0]) >= _LEAST_STICK_AREA and len(found) < _MOST_STICKS:
        if found and len(parts[0]) < _LEAST_SHARE * found[0].area:
            break
        joined: list[np.ndarray] = [parts[0]]
        rest: list[np.ndarray] = []
        for part in parts[1:]:
            cover = drawn if len(part) >= _LEAST_STICK_AREA else above
            (joined if _is_continued(joined, part, radius, cover) else rest).append(part)
        places = np.concatenate(joined)
        middle, along = _axis(places)
        position = (places - middle) @ along
        ends = np.stack([middle + along * (position.min() - 0.5), middle + along * (position.max() + 0.5)])
        found.append(Stick(ends, len(places)))
        parts = rest
    return sorted(found, key=lambda stick: -stick.area)


def _is_continued(joined: list[np.ndarray], part: np.ndarray, radius: float, cover: np.ndarray) -> bool:
    """Whether a part lies on a stick's line, and close to it or with nothing but what covers it between."""
    places = np.concatenate(joined)
    middle, along = _axis(places)
    aside = np.quantile(np.abs((part - middle) @ [-along[1], along[0]]), 0.9)
    own, other = (places - middle) @ along, (part - middle) @ along
    gap = max(other.min() - own.max(), own.min() - other.max(), 0.0)
    if len(part) >= _LEAST_STICK_AREA and aside <= 1.3 * radius + 1.5 and gap <= 4 * radius + 1.5 * np.ptp(other):
        return True
    is_trace = np.ptp(other) < 2 * radius or len(part) < 0.6 * radius * (np.ptp(other) + 1)
    if aside > radius + 0.5 or (len(part) >= _LEAST_STICK_AREA and is_trace):
        return False
    near, far = (own.max(), other.min()) if other.min() > own.max() else (own.min(), other.max())
    between = middle + np.linspace(near, far, max(2, round(gap)))[:, None] * along
    columns, rows = between.astype(int).clip(0, [cover.shape[1] - 1, cover.shape[0] - 1]).T
    return bool(cover[rows, columns].mean() >= _COVERED)


def _axis(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle and direction of a cloud of places."""
    middle = places.mean(0)
    _, vectors = np.linalg.eigh(np.cov((places - middle).T) + 1e-9 * np.eye(2))
    return middle, vectors[:, 1]


def _disc_radius(discs: dict[int, list[Disc]]) -> float:
    """From the median of the largest of each hue, which hands and overlaps move little."""
    areas = [found[0].area for found in discs.values()] or [9]
    return float(np.sqrt(np.median(areas) / np.pi))


def _stick_radius(sticks: dict[int, list[Stick]]) -> float:
    """From the area of an ellipse between the ends; less than that of the discs where sticks are lines."""
    widths = [2 * found[0].area / (np.pi * max(found[0].length, 1.0)) for found in sticks.values()] or [1.0]
    return float(np.median(widths))
