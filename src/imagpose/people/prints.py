"""Prints on cloth: functions of rest-pose coordinates, sharp at any resolution and coarse enough to be seen at 256x176.

Every period is at least 5 cm: for a standing person a pixel is about 8 mm, so a period takes 6 pixels and more.
A motif on the chest and another on the back make the two sides differ: only a back view tells what the back shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

Colour = tuple[float, float, float]

GARMENT_COLOURS: tuple[Colour, ...] = (
    (0.95, 0.95, 0.93), (0.10, 0.10, 0.12), (0.82, 0.10, 0.13), (0.10, 0.25, 0.62), (0.08, 0.52, 0.28), (0.98, 0.78, 0.12),
    (0.50, 0.26, 0.66), (0.96, 0.55, 0.66), (0.36, 0.68, 0.90), (0.62, 0.63, 0.65), (0.50, 0.31, 0.17), (0.88, 0.80, 0.62),
    (0.96, 0.45, 0.10), (0.08, 0.58, 0.58), (0.45, 0.07, 0.18), (0.38, 0.45, 0.20), (0.62, 0.86, 0.72), (0.78, 0.70, 0.90),
)  # fmt: skip
_BOTTOM_COLOURS: tuple[Colour, ...] = (
    (0.12, 0.12, 0.14), (0.14, 0.19, 0.40), (0.24, 0.40, 0.68), (0.50, 0.66, 0.84), (0.70, 0.58, 0.38), (0.50, 0.50, 0.52),
    (0.30, 0.36, 0.20), (0.92, 0.90, 0.86), (0.52, 0.10, 0.18), (0.45, 0.28, 0.16), (0.08, 0.42, 0.40), (0.76, 0.76, 0.76),
    (0.85, 0.48, 0.16), (0.55, 0.36, 0.60),
)  # fmt: skip
_LEAST_CONTRAST = 0.6  # between the colours of a print: sum of absolute differences of the channels
_LEAST_LUMA = 0.16  # and of luma, which survives chroma subsampling and blur


@dataclass(frozen=True)
class Print:
    """What is printed on a garment.

    Attributes:
        pattern: key of `PATTERNS`.
        colours: ground, second and third colour, 0..1.
        period: metres after which the pattern repeats, at least 0.05.
        phase: 0..1, shift of the pattern.
        chest, back: keys of `MOTIFS` or None: a motif of the third colour in front and behind.
        motif_size: half the size of the chest motif in metres.
    """

    pattern: str
    colours: tuple[Colour, Colour, Colour]
    period: float = 0.08
    phase: float = 0.0
    chest: str | None = None
    back: str | None = None
    motif_size: float = 0.07


@dataclass(frozen=True, eq=False)
class Cloth:
    """Where pixels lie on a garment, arrays (n,).

    Attributes:
        around: metres around the limb or trunk, 0 in front.
        up: metres upwards.
        turns: fraction of a whole turn around the limb or trunk, so that patterns can close at the back.
        girth: metres of a whole turn.
        x: metres from the middle of the body. facing: -1 front .. 1 back. torso: bool.
    """

    around: np.ndarray
    up: np.ndarray
    turns: np.ndarray
    girth: np.ndarray
    x: np.ndarray
    facing: np.ndarray
    torso: np.ndarray


def _columns(cloth: Cloth, period: float) -> np.ndarray:
    """Position in units of the period, with a whole number of periods around."""
    return cloth.turns * np.maximum(np.rint(cloth.girth / period), 2)


def _wave(values: np.ndarray) -> np.ndarray:
    """Triangle wave between 0 and 1 of period 1."""
    return abs(values % 1.0 * 2 - 1)


def _plaid(cloth: Cloth, print_: Print) -> np.ndarray:
    period = 1.5 * print_.period
    return 0.5 * (_columns(cloth, period) % 1.0 < 0.4) + 0.5 * (cloth.up / period % 1.0 < 0.4)


def _blotches(cloth: Cloth, print_: Print) -> np.ndarray:
    scale, phase = 2.2 / print_.period, 6 * print_.phase
    a = np.sin(scale * cloth.up + 2 * np.sin(scale * 0.7 * cloth.around + phase))
    b = np.sin(scale * 1.3 * cloth.around + 2 * np.sin(scale * 0.6 * cloth.up + 2 * phase))
    blotches: np.ndarray = (a * b > 0.15).astype(np.float32)
    return blotches


# Share 0..1 of the second colour at each place.
PATTERNS: dict[str, Callable[[Cloth, Print], np.ndarray]] = {
    "plain": lambda c, p: np.zeros_like(c.up),
    "stripes": lambda c, p: (c.up / p.period + p.phase) % 1.0 < 0.5,
    "broad stripes": lambda c, p: (c.up / (2 * p.period) + p.phase) % 1.0 < 0.4,
    "pinstripes": lambda c, p: _columns(c, 1.25 * p.period) % 1.0 < 0.45,
    "diagonal": lambda c, p: (_columns(c, 1.5 * p.period) + c.up / (1.5 * p.period)) % 1.0 < 0.5,
    "gingham": lambda c, p: 0.5 * (_columns(c, p.period) % 1.0 < 0.5) + 0.5 * (c.up / p.period % 1.0 < 0.5),
    "plaid": _plaid,
    "dots": lambda c, p: (_columns(c, p.period) % 1 - 0.5) ** 2 + (c.up / p.period % 1 - 0.5) ** 2 < 0.09,
    "zigzag": lambda c, p: (c.up / (1.2 * p.period) + 0.6 * _wave(_columns(c, 1.6 * p.period))) % 1.0 < 0.5,
    "diamonds": lambda c, p: _wave(_columns(c, 1.6 * p.period)) + _wave(c.up / (1.8 * p.period)) > 1.0,
    "checkerboard": lambda c, p: (_columns(c, 1.2 * p.period) % 1 < 0.5) ^ (c.up / (1.2 * p.period) % 1 < 0.5),
    "camouflage": _blotches,
    "block": lambda c, p: c.up < 0.28 + 0.1 * p.phase,
    "two blocks": lambda c, p: (c.up < 0.38) & (c.up > 0.26),
    "gradient": lambda c, p: np.clip((c.up - 0.05) / 0.45, 0, 1),
    "halves": lambda c, p: c.x > 0,
    "side panels": lambda c, p: abs(abs(c.turns) - 0.25) < 0.06,
    "knees": lambda c, p: (c.up < -0.33) & (c.up > -0.52),
}

# Inside of a motif in units of its half size, x to the viewer's left when seen from the front, y up.
MOTIFS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": lambda x, y: x**2 + y**2 < 1,
    "ring": lambda x, y: (x**2 + y**2 < 1) & (x**2 + y**2 > 0.35),
    "square": lambda x, y: (abs(x) < 0.9) & (abs(y) < 0.9),
    "triangle": lambda x, y: (y > -0.8) & (y < 0.9) & (abs(x) < (0.9 - y) * 0.6),
    "bar": lambda x, y: (abs(x) < 1.3) & (abs(y) < 0.4),
    "bars": lambda x, y: (abs(x) < 1.2) & (abs(y) < 1.0) & (abs(abs(y) - 0.4) > 0.2),
    "cross": lambda x, y: ((abs(x) < 0.35) & (abs(y) < 1)) | ((abs(y) < 0.35) & (abs(x) < 1)),
    "heart": lambda x, y: (x**2 + (y - 0.6 * np.sqrt(abs(x))) ** 2) < 0.8,
    "moon": lambda x, y: (x**2 + y**2 < 1) & ((x - 0.5) ** 2 + y**2 > 0.7),
    "seven": lambda x, y: (
        ((abs(y - 0.75) < 0.25) & (abs(x) < 0.8)) | ((abs(x + 0.45 - 0.35 * (y - 1)) < 0.28) & (abs(y) < 1))
    ),
}


def paint(print_: Print, cloth: Cloth) -> np.ndarray:
    """Colours (n, 3) in 0..1 of a print on a garment."""
    ground, second, third = (np.array(colour, np.float32) for colour in print_.colours)
    share = np.asarray(PATTERNS[print_.pattern](cloth, print_), np.float32)
    # Channel by channel: numpy's loop over three channels per pixel takes five times as long.
    colours = np.stack([low + share * change for low, change in zip(ground, second - ground, strict=True)]).T
    for motif, side, size in ((print_.chest, -1, print_.motif_size), (print_.back, 1, 1.15 * print_.motif_size)):
        if motif is not None:
            inside = MOTIFS[motif](-side * cloth.x / size, (cloth.up - 0.36) / size)
            colours[inside & cloth.torso & (side * cloth.facing > 0.1)] = third
    return colours


@cache
def contrasting(first: Colour, second: Colour) -> bool:
    """Whether two colours can be told apart where they alternate every few pixels."""
    return _distance(first, second) >= _LEAST_CONTRAST and abs(luma(first) - luma(second)) >= _LEAST_LUMA


def luma(colour: Colour) -> float:
    """Luma of a display colour, weights of Rec. 709."""
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def _distance(first: Colour, second: Colour) -> float:
    return sum(abs(a - b) for a, b in zip(first, second, strict=True))


def sample_unlike(rng: np.random.Generator, colours: tuple[Colour, ...], unlike: tuple[Colour, ...]) -> Colour:
    """A colour at a distance from others: `_LEAST_CONTRAST` or, if none has it, the most distant one."""
    distances = [min((_distance(colour, other) for other in unlike), default=3.0) for colour in colours]
    distinct = [colour for colour, distance in zip(colours, distances, strict=True) if distance >= _LEAST_CONTRAST]
    return distinct[int(rng.integers(len(distinct)))] if distinct else colours[int(np.argmax(distances))]


def _colours(
    rng: np.random.Generator, grounds: tuple[Colour, ...], unlike: tuple[Colour, ...]
) -> tuple[Colour, Colour, Colour]:
    first = sample_unlike(rng, grounds, unlike)
    second = _pick(rng, (first,))
    return first, second, _pick(rng, (first, second))


def _pick(rng: np.random.Generator, unlike: tuple[Colour, ...]) -> Colour:
    choice = [c for c in GARMENT_COLOURS if all(contrasting(c, o) for o in unlike)]
    return choice[int(rng.integers(len(choice)))]


def sample_plain(rng: np.random.Generator, unlike: tuple[Colour, ...]) -> Print:
    """Cloth of one colour that differs from others nearby."""
    return Print("plain", _colours(rng, GARMENT_COLOURS, unlike))


def sample_top_print(rng: np.random.Generator, unlike: tuple[Colour, ...], plain: bool = False) -> Print:
    """Print of a top: a pattern, or plain cloth with motifs; the back often differs from the front."""
    patterns = [name for name in PATTERNS if name not in ("plain", "side panels", "knees")]
    patterned = not plain and rng.random() < 0.48
    motifs = list(MOTIFS)
    chest = str(rng.choice(motifs)) if not plain and rng.random() < (0.10 if patterned else 0.45) else None
    back = str(rng.choice(motifs)) if rng.random() < (0.15 if patterned else 0.45) else None
    return Print(
        pattern=str(rng.choice(patterns)) if patterned else "plain",
        colours=_colours(rng, GARMENT_COLOURS, unlike),
        period=float(rng.uniform(0.065, 0.11)),
        phase=float(rng.random()),
        chest=chest,
        back=back,
        motif_size=float(rng.uniform(0.075, 0.10)),
    )


def sample_bottom_print(rng: np.random.Generator, unlike: tuple[Colour, ...], skirt: bool) -> Print:
    """Print of trousers, shorts or a skirt: mostly plain."""
    patterns = ("stripes", "pinstripes", "dots", "gingham", "plaid", "zigzag", "diagonal") if skirt else (
        "side panels", "side panels", "gingham", "camouflage", "pinstripes", "knees")  # fmt: skip
    pattern = str(rng.choice(patterns)) if rng.random() < (0.6 if skirt else 0.35) else "plain"
    colours = _colours(rng, _BOTTOM_COLOURS, unlike)
    return Print(pattern, colours, period=float(rng.uniform(0.065, 0.10)), phase=float(rng.random()))
