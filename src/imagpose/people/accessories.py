"""Hats, glasses and bags that some people carry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagpose.people.body import load_body
from imagpose.people.hair import scalp_field
from imagpose.people.outfit import Material
from imagpose.people.solids import Solid, box, ring
from imagpose.people.surface import Piece, cut_surface
from imagpose.people.template import Template, smoothstep

__all__ = ["Accessories", "accessory_pieces", "accessory_solids", "sample_accessories"]

Colour = tuple[float, float, float]

_HAT_COLOURS: tuple[Colour, ...] = (
    (0.12, 0.12, 0.14), (0.75, 0.15, 0.15), (0.15, 0.25, 0.50), (0.85, 0.82, 0.74), (0.30, 0.40, 0.25), (0.90, 0.65, 0.15),
)  # fmt: skip
_BAG_COLOURS: tuple[Colour, ...] = (
    (0.15, 0.13, 0.12), (0.45, 0.27, 0.15), (0.70, 0.15, 0.20), (0.20, 0.35, 0.55), (0.35, 0.40, 0.30), (0.80, 0.65, 0.30),
)  # fmt: skip


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


def sample_accessories(rng: np.random.Generator) -> Accessories:
    """Draw accessories; most people have none."""
    return Accessories(
        hat=str(rng.choice(("none", "cap", "beanie", "brimmed"), p=(0.80, 0.08, 0.07, 0.05))),
        glasses=str(rng.choice(("none", "clear", "dark"), p=(0.80, 0.12, 0.08))),
        hat_colour=_HAT_COLOURS[int(rng.integers(len(_HAT_COLOURS)))],
        bag_colour=_BAG_COLOURS[int(rng.integers(len(_BAG_COLOURS)))],
        frame_colour=((0.08, 0.08, 0.09), (0.35, 0.2, 0.1), (0.6, 0.15, 0.15))[int(rng.integers(3))],
    )


def accessory_pieces(accessories: Accessories, template: Template) -> list[Piece]:
    """The crown of a hat, which follows the scalp."""
    if accessories.hat == "none":
        return []
    y, z = template.vertices[:, 1], template.vertices[:, 2]
    field = np.minimum(scalp_field(template), z - 0.765 - 0.10 * smoothstep(0.0, -0.1, y) * 0.2)
    thickness = 0.020 if accessories.hat == "beanie" else 0.016
    crown = 0.030 if accessories.hat == "brimmed" else 0.012
    offset = thickness + crown * smoothstep(0.80, 0.85, z)
    return [cut_surface(load_body().faces["body"], field, offset, Material.HAT)]


def accessory_solids(accessories: Accessories, strap: str) -> list[Solid]:
    """Brims, glasses and bags."""
    solids: list[Solid] = []
    up, front = (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)
    if accessories.hat == "cap":
        visor = ring((0.0, -0.085, 0.790), (0.075, 0.105), 0.0, up, Material.HAT, "ears", "head", arc=(180.0, 360.0))
        solids.append(visor.tilted(-12.0, (0.0, -0.085, 0.790)))
    elif accessories.hat == "brimmed":
        solids.append(ring((0.0, -0.025, 0.785), (0.165, 0.185), 0.45, up, Material.HAT, "ears", "head"))
    if accessories.glasses != "none":
        inner = 0.0 if accessories.glasses == "dark" else 0.68
        for x in (-0.032, 0.032):
            solids.append(ring((x, -0.152, 0.733), (0.027, 0.021), inner, front, Material.GLASSES, "ears", "head"))
            side = 0.078 if x > 0 else -0.078
            solids.append(box((side, -0.09, 0.736), (0.003, 0.06, 0.004), Material.GLASSES, "ears", "head"))
        solids.append(box((0.0, -0.154, 0.738), (0.010, 0.003, 0.004), Material.GLASSES, "ears", "head"))
    if strap == "backpack":
        solids.append(box((0.0, 0.165, 0.33), (0.135, 0.075, 0.19), Material.BAG, anchor="shoulders", bone="spine02"))
    elif strap == "shoulder":
        solids.append(box((0.235, 0.0, -0.02), (0.045, 0.12, 0.10), Material.BAG, anchor="hips", bone="root"))
    return solids
