"""Hair: a displaced scalp, and rigid masses, buns and tails with outlines that differ at a distance."""

from __future__ import annotations

import numpy as np

from imagpose.people.body import load_body
from imagpose.people.outfit import Material
from imagpose.people.solids import Solid, ellipsoid
from imagpose.people.surface import Piece, cut_surface, signed_distance
from imagpose.people.template import Template, smoothstep

# Style -> thickness on the scalp in metres.
HAIR_STYLES: dict[str, float] = {
    "bald": 0.0,
    "buzz": 0.005,
    "short": 0.018,
    "side part": 0.020,
    "fringe": 0.020,
    "quiff": 0.016,
    "curly": 0.036,
    "afro": 0.060,
    "bob": 0.020,
    "long": 0.016,
    "parted": 0.014,
    "bun": 0.010,
    "ponytail": 0.010,
}
_MEN = (
    "bald",
    "bald",
    "buzz",
    "short",
    "short",
    "side part",
    "side part",
    "fringe",
    "quiff",
    "quiff",
    "curly",
    "afro",
    "bun",
)
_WOMEN = (
    "short",
    "fringe",
    "curly",
    "afro",
    "bob",
    "bob",
    "long",
    "long",
    "parted",
    "parted",
    "bun",
    "bun",
    "ponytail",
    "ponytail",
)
_UNDER_HATS = ("buzz", "short", "bob", "long", "bald", "parted")
_FRINGED = ("fringe", "bob", "long")
# The hairline in the profile (y, z) of the template's head.
_HAIRLINE = np.array(
    [(-0.3, 0.805), (-0.125, 0.803), (-0.096, 0.785), (-0.082, 0.748), (-0.066, 0.738), (-0.060, 0.700), (-0.046, 0.700),
     (-0.036, 0.748), (0.0, 0.748), (0.012, 0.69), (0.03, 0.645), (0.3, 0.64), (0.3, 1.0), (-0.3, 1.0)]
)  # fmt: skip
# With a fringe it runs just above the brows.
_FRINGE = np.array([(-0.3, 0.776), (-0.125, 0.776), (-0.100, 0.774), *_HAIRLINE[3:]])


def sample_hair_style(rng: np.random.Generator, female: bool, hat: bool) -> str:
    """Draw a style; under a hat only flat ones."""
    styles = [s for s in (_WOMEN if female else _MEN) if not hat or s in _UNDER_HATS]
    return str(rng.choice(styles))


def scalp_field(template: Template, raised: float = 0.0, fringe: bool = False) -> np.ndarray:
    """Signed distance (n,) to the hairline, positive on the scalp; `raised` metres higher than natural."""
    vertices = template.vertices
    field = np.full(len(vertices), -1.0)
    head = ~template.on_arm & (vertices[:, 2] >= 0.6)
    field[head] = signed_distance(vertices[head, 1:], (_FRINGE if fringe else _HAIRLINE) + (0.0, raised))
    return field


def hair_pieces(style: str, template: Template, hat: bool, raised: float) -> list[Piece]:
    """The part of the hair that follows the body's surface."""
    if style == "bald":
        return []
    x, y, z = template.vertices.T
    thickness = HAIR_STYLES[style]
    field = scalp_field(template, raised, fringe=style in _FRINGED and not hat)
    edge = 0.010 if style in ("buzz", *_FRINGED) else 0.03
    offset = (min(thickness, 0.006) if hat else thickness) * smoothstep(-0.002, edge, field) + 0.002
    if not hat:
        offset *= 1 + 0.35 * smoothstep(0.74, 0.85, z)
        if style == "side part":  # a furrow on one side, volume on the other
            furrow = 1 - 0.7 * np.exp(-(((x - 0.035) / 0.012) ** 2))
            offset = offset * furrow + 0.010 * smoothstep(0.03, -0.03, x) * (field > 0)
        elif style == "quiff":
            offset = offset + 0.030 * smoothstep(-0.03, -0.10, y) * smoothstep(0.78, 0.82, z)
        elif style == "curly":
            offset = offset * (0.85 + 0.3 * np.sin(75 * x) * np.sin(75 * y + 70 * z))
    return [cut_surface(load_body().faces["body"], field, offset, Material.HAIR)]


def hair_solids(style: str, size: float) -> list[Solid]:
    """Buns and tails; `size` 0..1."""

    def on_head(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Solid:
        return ellipsoid(centre, radii, Material.HAIR, bone="head", power=0.75)

    if style in ("long", "parted", "bob"):
        # A mass behind and a lock on each side, thick enough to have a clear outline.
        end = 0.60 if style == "bob" else 0.46 - 0.05 * size
        middle, half = (0.80 + end) / 2, (0.80 - end) / 2
        lock = 0.63 if style == "bob" else 0.56
        back, depth = (0.014, 0.088) if style == "bob" else (0.028, 0.074)
        return [
            on_head((0.0, back, middle), (0.100, depth, half)),
            *(
                on_head((side * 0.080, -0.014, (0.80 + lock) / 2), (0.027, 0.058, (0.80 - lock) / 2))
                for side in (-1, 1)
            ),
        ]
    if style == "bun":
        radius = 0.042 + 0.014 * size
        return [on_head((0.0, 0.040, 0.868), (radius, radius, radius))]
    if style == "ponytail":
        length = 0.10 + 0.06 * size
        return [
            on_head((0.0, 0.075, 0.825), (0.034, 0.040, 0.030)),
            on_head((0.0, 0.112, 0.825 - length), (0.038, 0.032, length)),
        ]
    return []
