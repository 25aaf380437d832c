"""Hair: a displaced scalp, the helper mesh for long hair, and rigid buns and tails."""

from __future__ import annotations

import numpy as np

from imagpose.people.body import load_body
from imagpose.people.outfit import Material
from imagpose.people.solids import Solid, ellipsoid
from imagpose.people.surface import Piece, cut_surface, signed_distance
from imagpose.people.template import Template, smoothstep

__all__ = ["HAIR_STYLES", "hair_pieces", "hair_solids", "sample_hair_style"]

# Style -> (thickness on the scalp in metres, length: lowest height of the long mesh or None).
HAIR_STYLES: dict[str, tuple[float, float | None]] = {
    "bald": (0.0, None),
    "buzz": (0.005, None),
    "short": (0.016, None),
    "side part": (0.020, None),
    "quiff": (0.016, None),
    "curly": (0.034, None),
    "afro": (0.055, None),
    "bob": (0.018, 0.58),
    "long": (0.016, 0.40),
    "bun": (0.010, None),
    "ponytail": (0.010, None),
}
_MEN = ("bald", "buzz", "short", "short", "side part", "side part", "quiff", "curly", "afro", "bun")
_WOMEN = ("short", "curly", "afro", "bob", "bob", "long", "long", "long", "bun", "ponytail", "ponytail")
# The hairline in the profile (y, z) of the template's head.
_HAIRLINE = np.array(
    [(-0.3, 0.805), (-0.125, 0.803), (-0.096, 0.785), (-0.082, 0.748), (-0.066, 0.738), (-0.060, 0.700), (-0.046, 0.700),
     (-0.036, 0.748), (0.0, 0.748), (0.012, 0.69), (0.03, 0.645), (0.3, 0.64), (0.3, 1.0), (-0.3, 1.0)]
)  # fmt: skip


def sample_hair_style(rng: np.random.Generator, female: bool, hat: bool) -> str:
    """Draw a style; under a hat only flat ones."""
    styles = [s for s in (_WOMEN if female else _MEN) if not hat or s in ("buzz", "short", "bob", "long", "bald")]
    return str(rng.choice(styles))


def scalp_field(template: Template, raised: float = 0.0) -> np.ndarray:
    """Signed distance (n,) to the hairline, positive on the scalp; `raised` metres higher than natural."""
    vertices = template.vertices
    field = np.full(len(vertices), -1.0)
    head = ~template.on_arm & (vertices[:, 2] >= 0.6)
    field[head] = signed_distance(vertices[head, 1:], _HAIRLINE + (0.0, raised))
    return field


def hair_pieces(style: str, template: Template, hat: bool, raised: float) -> list[Piece]:
    """The part of the hair that follows the body's surface."""
    if style == "bald":
        return []
    x, y, z = template.vertices.T
    thickness, length = HAIR_STYLES[style]
    field = scalp_field(template, raised)
    edge = 0.010 if style == "buzz" else 0.03
    offset = (min(thickness, 0.006) if hat else thickness) * smoothstep(-0.002, edge, field) + 0.002
    if not hat:
        offset *= 1 + 0.35 * smoothstep(0.74, 0.85, z)
        if style == "side part":  # a furrow on one side, volume on the other
            furrow = 1 - 0.7 * np.exp(-(((x - 0.035) / 0.012) ** 2))
            offset = offset * furrow + 0.010 * smoothstep(0.03, -0.03, x) * (field > 0)
        elif style == "quiff":
            offset = offset + 0.030 * smoothstep(-0.03, -0.10, y) * smoothstep(0.78, 0.82, z)
        elif style == "curly":
            offset = offset * (0.85 + 0.3 * np.sin(90 * x) * np.sin(80 * y + 60 * z))
    pieces = [cut_surface(load_body().faces["body"], field, offset, Material.HAIR)]
    if length is not None:
        behind = np.minimum(z - length, y + 0.06)
        pieces.append(cut_surface(load_body().faces["hair"], behind, np.full_like(z, 0.004), Material.HAIR))
    return pieces


def hair_solids(style: str, size: float) -> list[Solid]:
    """Buns and tails; `size` 0..1."""

    def on_head(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Solid:
        return ellipsoid(centre, radii, Material.HAIR, anchor="ears", bone="head")

    if style == "bun":
        radius = 0.034 + 0.016 * size
        return [on_head((0.0, 0.075, 0.825), (radius, radius, radius))]
    if style == "ponytail":
        length = 0.10 + 0.06 * size
        return [
            on_head((0.0, 0.068, 0.795), (0.026, 0.026, 0.022)),
            on_head((0.0, 0.092, 0.800 - length), (0.030, 0.024, length)),
        ]
    return []
