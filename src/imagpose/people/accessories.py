"""Hats, glasses and bags that some people carry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagpose.people.body import load_body
from imagpose.people.hair import scalp_field
from imagpose.people.outfit import Material
from imagpose.people.prints import Colour, sample_unlike
from imagpose.people.solids import Solid, box, ellipsoid, ring
from imagpose.people.surface import Piece, cut_surface
from imagpose.people.template import Template, smoothstep

_HAT_COLOURS: tuple[Colour, ...] = (
    (0.12, 0.12, 0.14), (0.80, 0.12, 0.14), (0.12, 0.26, 0.60), (0.94, 0.92, 0.88), (0.14, 0.45, 0.28), (0.96, 0.72, 0.14),
)  # fmt: skip
_BAG_COLOURS: tuple[Colour, ...] = (
    (0.15, 0.13, 0.12), (0.50, 0.30, 0.16), (0.78, 0.13, 0.20), (0.16, 0.35, 0.65), (0.25, 0.48, 0.32), (0.92, 0.72, 0.24),
)  # fmt: skip
# Middle of a lens (|x|, z), half axes of its frame in metres, and the share of them that the frame leaves open.
LENS_CENTRE, LENS_HALF_AXES, LENS_INNER = (0.0350, 0.727), (0.0355, 0.0290), 0.66
_FRAME_COLOURS: tuple[Colour, ...] = ((0.06, 0.06, 0.07), (0.62, 0.08, 0.12), (0.08, 0.20, 0.55), (0.95, 0.93, 0.85))


@dataclass(frozen=True)
class Accessories:
    """What is worn besides clothes.

    Attributes:
        hat: "none", "cap", "beanie" or "brimmed". glasses: "none", "clear" or "dark".
        hat_colour, bag_colour, frame_colour: 0..1.
    """

    hat: str
    glasses: str
    hat_colour: Colour
    bag_colour: Colour
    frame_colour: Colour


def sample_accessories(rng: np.random.Generator, skin: Colour) -> Accessories:
    """Draw accessories; most people have none. Hats and frames stand out against the skin."""
    return Accessories(
        hat=str(rng.choice(("none", "cap", "beanie", "brimmed"), p=(0.80, 0.08, 0.07, 0.05))),
        glasses=str(rng.choice(("none", "clear", "dark"), p=(0.80, 0.12, 0.08))),
        hat_colour=sample_unlike(rng, _HAT_COLOURS, (skin,)),
        bag_colour=_BAG_COLOURS[int(rng.integers(len(_BAG_COLOURS)))],
        frame_colour=sample_unlike(rng, _FRAME_COLOURS, (skin,)),
    )


def accessory_pieces(accessories: Accessories, template: Template) -> list[Piece]:
    """The crown of a hat, which follows the scalp."""
    if accessories.hat == "none":
        return []
    y, z = template.vertices[:, 1], template.vertices[:, 2]
    field = np.minimum(scalp_field(template, fringe=True), z - 0.765 - 0.10 * smoothstep(0.0, -0.1, y) * 0.2)
    thickness = 0.020 if accessories.hat == "beanie" else 0.016
    crown = 0.030 if accessories.hat == "brimmed" else 0.012
    offset = thickness + crown * smoothstep(0.80, 0.85, z)
    return [cut_surface(load_body().faces["body"], field, offset, Material.HAT)]


def accessory_solids(accessories: Accessories, strap: str) -> list[Solid]:
    """Brims, glasses and bags."""
    solids: list[Solid] = []
    if accessories.hat == "cap":
        visor = ellipsoid((0.0, -0.105, 0.790), (0.082, 0.100, 0.011), Material.HAT, "head")
        solids.append(visor.tilted(-10.0, (0.0, -0.105, 0.790)))
    elif accessories.hat == "brimmed":
        solids.append(ellipsoid((0.0, -0.025, 0.788), (0.165, 0.185, 0.013), Material.HAT, "head"))
    if accessories.glasses != "none":
        inner = 0.0 if accessories.glasses == "dark" else LENS_INNER
        x, z = LENS_CENTRE
        for side in (-1, 1):
            lens = ring((side * x, -0.152, z), LENS_HALF_AXES, inner, Material.GLASSES, "head")
            temple = box((side * 0.078, -0.09, 0.732), (0.004, 0.064, 0.007), Material.GLASSES, "head")
            solids += [lens, temple]
    if strap == "backpack":
        solids.append(box((0.0, 0.165, 0.33), (0.135, 0.075, 0.19), Material.BAG, bone="spine02"))
    elif strap == "shoulder":
        solids.append(box((0.235, 0.0, -0.02), (0.045, 0.12, 0.10), Material.BAG, bone="root"))
    return solids
