"""Colour of every place on a dressed person, as a function of its material and its rest-pose coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imagpose.people.accessories import LENS_CENTRE, LENS_HALF_AXES, LENS_INNER, Accessories
from imagpose.people.face import Face, paint_skin
from imagpose.people.outfit import Material, Outfit
from imagpose.people.prints import Cloth, Colour, paint
from imagpose.people.template import ATTRIBUTES, smoothstep

_COLUMN = {name: column for column, name in enumerate(ATTRIBUTES)}
# Metres of cloth per radian around the trunk, an arm, a leg.
_TRUNK, _ARM, _LEG = 0.15, 0.05, 0.075
# The trunk's cross-section is nearly an ellipse: half width, half depth, y of its middle, metres.
_TRUNK_WIDTH, _TRUNK_DEPTH, _TRUNK_MIDDLE = 0.165, 0.115, -0.028
_SOLE_TOP = -0.958


@dataclass(frozen=True)
class Look:
    """Colours and habits of one person.

    Attributes:
        face: skin, eyes, brows, mouth, beard.
        hair_colour: 0..1. hair_style: key of `HAIR_STYLES`.
        outfit, accessories: what is worn.
    """

    face: Face
    hair_colour: Colour
    hair_style: str
    outfit: Outfit
    accessories: Accessories


def surface_colours(look: Look, material: np.ndarray, attributes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Albedo and gloss.

    Args:
        look: the person.
        material: (n,) ids of `Material`.
        attributes: (n, len(ATTRIBUTES)).

    Returns:
        albedo float32 (n, 3) in 0..1 and specular float32 (n,) in 0..1.
    """
    albedo = np.zeros((len(material), 3), np.float32)
    specular = np.zeros(len(material), np.float32)
    for kind, (paint_material, gloss) in _PAINTERS.items():
        chosen = np.flatnonzero(material == int(kind))
        if len(chosen):
            albedo[chosen] = paint_material(look, attributes.take(chosen, axis=0))
            specular[chosen] = gloss
    return albedo, specular


def _trunk_angle(attributes: np.ndarray) -> np.ndarray:
    """Angle about the trunk, 0 in front, in proportion to the length of cloth: the ellipse's arc length to first order.

    Above the armpits the trunk narrows towards the neck; there front and back are flat panels that meet on the
    shoulders, or stripes would run together at the neck and shimmer.
    """
    x, y, z = attributes[:, :3].T
    across = x / _TRUNK_WIDTH
    panel = np.sqrt(np.clip(1 - across**2, 0, 1)) * -np.sign(attributes[:, _COLUMN["normal_y"]])
    flat = smoothstep(0.40, 0.47, z)
    angle = np.arctan2(across, (1 - flat) * (_TRUNK_MIDDLE - y) / _TRUNK_DEPTH + flat * panel)
    flatness = (_TRUNK_WIDTH**2 - _TRUNK_DEPTH**2) / (_TRUNK_WIDTH**2 + _TRUNK_DEPTH**2)
    flattened: np.ndarray = angle + flatness / 4 * np.sin(2 * angle)
    return flattened


def _cloth(attributes: np.ndarray, legs: bool) -> Cloth:
    x, y, z = attributes[:, :3].T
    on_arm = attributes[:, _COLUMN["arm"]] > 0.5
    on_leg = (z < -0.10) & legs & ~on_arm
    leg_axis = 0.10 + 0.115 * (-z - 0.03)
    arm_turn = np.arctan2(attributes[:, _COLUMN["around_arm_sin"]], attributes[:, _COLUMN["around_arm_cos"]])
    leg_turn = np.arctan2(abs(x) - leg_axis, -y - 0.01)
    angle = np.where(on_arm, arm_turn, np.where(on_leg, leg_turn, _trunk_angle(attributes)))
    radius = np.where(on_arm, _ARM, np.where(on_leg, _LEG, _TRUNK))
    return Cloth(
        around=angle * radius,
        up=np.where(on_arm, 0.45 - 0.5 * attributes[:, _COLUMN["along_arm"]], z),
        turns=angle / (2 * np.pi),
        girth=2 * np.pi * radius,
        x=x,
        facing=attributes[:, _COLUMN["normal_y"]],
        torso=~on_arm,
    )


def _top(look: Look, attributes: np.ndarray) -> np.ndarray:
    outfit = look.outfit
    cloth = _cloth(attributes, legs=False)
    colours = paint(outfit.top_print, cloth)
    front = cloth.torso & (cloth.facing < 0)
    if outfit.top == "jacket":  # zip
        colours[front & (abs(cloth.x) < 0.0125)] = (0.80, 0.80, 0.80)
    elif outfit.top == "shirt":  # button placket
        colours[front & (abs(cloth.x) < 0.016)] *= 0.62
    elif outfit.top == "hoodie":  # pocket
        colours[front & (abs(cloth.x) < 0.12) & (abs(cloth.up - 0.08) < 0.07)] *= 0.66
    if outfit.sleeve > 0.9:  # cuffs
        colours[~cloth.torso & (attributes[:, _COLUMN["along_arm"]] > 0.90)] = outfit.cuff
    return _with_straps(look, cloth, colours)


def _with_straps(look: Look, cloth: Cloth, colours: np.ndarray) -> np.ndarray:
    if look.outfit.strap == "backpack":
        outwards = 1.2 * np.maximum(0.28 - cloth.up, 0)  # below the chest the straps run to the sides
        strap = (abs(abs(cloth.x) - 0.105 - outwards) < 0.024) & (cloth.up > 0.16) & (cloth.facing < 0.3)
    elif look.outfit.strap == "shoulder":
        strap = abs(cloth.x + 0.13 - 0.57 * (0.58 - cloth.up)) < 0.024
    else:
        return colours
    colours[strap & cloth.torso] = np.multiply(look.accessories.bag_colour, 0.85)
    return colours


def _bottom(look: Look, attributes: np.ndarray) -> np.ndarray:
    colours = paint(look.outfit.bottom_print, _cloth(attributes, legs=not look.outfit.has_skirt))
    if not look.outfit.has_skirt:  # belt
        colours[attributes[:, 2] > 0.095] = (0.12, 0.09, 0.07)
    return colours


def _skin(look: Look, attributes: np.ndarray) -> np.ndarray:
    return paint_skin(look.face, attributes[:, :3])


def _hair(look: Look, attributes: np.ndarray) -> np.ndarray:
    """Broad tone only, no strands; a parting shows the scalp in a line that is two pixels wide."""
    x, y, z = attributes[:, :3].T
    tone = 0.82 + 0.18 * smoothstep(0.62, 0.80, z)
    if look.hair_style in ("afro", "curly"):
        tone = tone * (1 + 0.22 * np.sin(75 * x) * np.sin(75 * y + 70 * z))
    colours = np.array(look.hair_colour) * tone[:, None]
    parting = {"side part": 0.035, "parted": 0.0}.get(look.hair_style)
    if parting is not None:
        colours[(abs(x - parting) < 0.0075) & (z > 0.77) & (y < 0.0)] = np.array(look.face.skin) * 0.8
    return colours


def _shoes(look: Look, attributes: np.ndarray) -> np.ndarray:
    outfit, (_, y, z) = look.outfit, attributes[:, :3].T
    upper, trim, _ = (np.array(colour) for colour in outfit.shoe_print.colours)
    colours = np.repeat(upper[None], len(attributes), 0)
    if outfit.shoe == "toe cap":
        colours[y < -0.14] = trim
    elif outfit.shoe == "two-tone":
        colours[abs(y + 0.085) < 0.04] = trim
    elif outfit.shoe == "socks":
        colours[z > -0.905] = trim
    colours[z < _SOLE_TOP] = outfit.sole
    return colours


def _glasses(look: Look, attributes: np.ndarray) -> np.ndarray:
    """Frames of one colour; lenses, which only dark glasses have, are black."""
    colours = np.repeat(np.array(look.accessories.frame_colour)[None], len(attributes), 0)
    (x, z), half = LENS_CENTRE, np.multiply(LENS_HALF_AXES, LENS_INNER)
    places = ((abs(attributes[:, 0]) - x) / half[0]) ** 2 + ((attributes[:, 2] - z) / half[1]) ** 2
    colours[(places < 1) & (attributes[:, 1] < -0.14)] = (0.05, 0.05, 0.06)
    return colours


def _plain(colour: Callable[[Look], Colour]) -> Callable[[Look, np.ndarray], np.ndarray]:
    return lambda look, attributes: np.repeat(np.array(colour(look))[None], len(attributes), 0)


_PAINTERS: dict[Material, tuple[Callable[[Look, np.ndarray], np.ndarray], float]] = {
    Material.SKIN: (_skin, 0.06),
    Material.EYE: (_skin, 0.06),
    Material.HAIR: (_hair, 0.12),
    Material.TOP: (_top, 0.0),
    Material.INNER: (_plain(lambda look: look.outfit.inner_print.colours[0]), 0.0),
    Material.BOTTOM: (_bottom, 0.0),
    Material.SHOES: (_shoes, 0.15),
    Material.HAT: (_plain(lambda look: look.accessories.hat_colour), 0.0),
    Material.BAG: (_plain(lambda look: look.accessories.bag_colour), 0.1),
    Material.GLASSES: (_glasses, 0.1),
}
