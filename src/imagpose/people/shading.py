"""Colour of every place on a dressed person, as a function of its material and its rest-pose coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imagpose.people.accessories import Accessories
from imagpose.people.outfit import Material, Outfit
from imagpose.people.prints import Cloth, Colour, paint
from imagpose.people.template import ATTRIBUTES, smoothstep

__all__ = ["Look", "surface_colours"]

_COLUMN = {name: column for column, name in enumerate(ATTRIBUTES)}
# Metres of cloth per radian around the trunk, an arm, a leg.
_TRUNK, _ARM, _LEG = 0.15, 0.05, 0.075
# The trunk's cross-section is nearly an ellipse: half width, half depth, y of its middle, metres.
_TRUNK_WIDTH, _TRUNK_DEPTH, _TRUNK_MIDDLE = 0.165, 0.115, -0.028
_EYE = np.array([0.0315, 0.733])
_BROW_TILT = 0.25


@dataclass(frozen=True)
class Look:
    """Colours and habits of one person.

    Attributes:
        skin, hair_colour, iris: 0..1. hair_style: key of `HAIR_STYLES`. beard: 0 none, 1 stubble, 2 full.
        brow_height: metres above its usual place. lip_tint: 0..1.
        sole: colour of the soles.
        outfit, accessories: what is worn.
    """

    skin: Colour
    hair_colour: Colour
    iris: Colour
    hair_style: str
    beard: int
    brow_height: float
    lip_tint: float
    sole: Colour
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
        chosen = material == kind
        if chosen.any():
            albedo[chosen] = paint_material(look, attributes[chosen])
            specular[chosen] = gloss
    return albedo, specular


def _trunk_angle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Angle about the trunk, 0 in front, in proportion to the length of cloth: the ellipse's arc length to first order."""
    angle = np.arctan2(x / _TRUNK_WIDTH, (_TRUNK_MIDDLE - y) / _TRUNK_DEPTH)
    flatness = (_TRUNK_WIDTH**2 - _TRUNK_DEPTH**2) / (_TRUNK_WIDTH**2 + _TRUNK_DEPTH**2)
    return angle + flatness / 4 * np.sin(2 * angle)


def _cloth(attributes: np.ndarray, legs: bool) -> Cloth:
    x, y, z = attributes[:, :3].T
    on_arm = attributes[:, _COLUMN["arm"]] > 0.5
    on_leg = (z < -0.10) & legs & ~on_arm
    leg_axis = 0.10 + 0.115 * (-z - 0.03)
    arm_turn = np.arctan2(attributes[:, _COLUMN["around_arm_sin"]], attributes[:, _COLUMN["around_arm_cos"]])
    leg_turn = np.arctan2(abs(x) - leg_axis, -y - 0.01)
    angle = np.where(on_arm, arm_turn, np.where(on_leg, leg_turn, _trunk_angle(x, y)))
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
        colours[front & (abs(cloth.x) < 0.0125)] = (0.72, 0.72, 0.72)
    elif outfit.top == "shirt":  # button placket
        colours[front & (abs(cloth.x) < 0.014)] *= 0.80
    elif outfit.top == "hoodie":  # pocket
        colours[front & (abs(cloth.x) < 0.12) & (abs(cloth.up - 0.08) < 0.07)] *= 0.82
    if outfit.sleeve > 0.9:  # cuffs
        colours[~cloth.torso & (attributes[:, _COLUMN["along_arm"]] > 0.92)] *= 0.75
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
    x, y, z = abs(attributes[:, 0]), attributes[:, 1], attributes[:, 2]
    skin = np.array(look.skin, np.float32)
    colours = np.repeat(skin[None], len(x), 0)
    face = smoothstep(-0.085, -0.11, y) * (z > 0.60)
    cheeks = face * np.exp(-(((x - 0.04) / 0.02) ** 2) - ((z - 0.69) / 0.02) ** 2)
    colours *= 1 + np.array([0.06, -0.05, -0.05]) * cheeks[:, None]
    if look.beard:
        jaw = smoothstep(0.690, 0.672, z - 0.35 * np.maximum(x - 0.035, 0)) * smoothstep(-0.035, -0.06, y) * (z > 0.595)
        moustache = face * (abs(z - 0.682) < 0.008) * (x < 0.03)
        cover = np.maximum(jaw, moustache)[:, None] * (0.4 if look.beard == 1 else 0.9)
        colours = colours * (1 - cover) + np.multiply(look.hair_colour, 0.9) * cover
    lips = np.clip(attributes[:, _COLUMN["lips"], None], 0, 1)
    tint = look.lip_tint
    lip_colour = skin * (0.80, 0.52 - 0.15 * tint, 0.52 - 0.12 * tint) + (0.05 + 0.12 * tint, 0, 0.01)
    colours = colours * (1 - lips) + lip_colour * lips
    brow = _EYE[1] + 0.022 + look.brow_height - _BROW_TILT * abs(x - 0.034)
    on_brow = (abs(z - brow) < 0.0055) & (abs(x - 0.036) < 0.020) & (y < -0.09)
    colours[on_brow] = 0.7 * np.array(look.hair_colour) + 0.12 * skin
    lids = (((x - _EYE[0]) / 0.020) ** 2 + ((z - _EYE[1]) / 0.011) ** 2 < 1) & (y < -0.1)
    colours[lids] *= 0.72
    return colours


def _eye(look: Look, attributes: np.ndarray) -> np.ndarray:
    distance = np.hypot(abs(attributes[:, 0]) - _EYE[0], attributes[:, 2] - _EYE[1])[:, None]
    return np.where(distance < 0.0035, 0.03, np.where(distance < 0.0075, np.array(look.iris), 0.9))


def _hair(look: Look, attributes: np.ndarray) -> np.ndarray:
    x, y, z = attributes[:, :3].T
    around = np.arctan2(x, y)
    if look.hair_style in ("afro", "curly"):
        strands = 0.25 * np.sin(70 * x) * np.sin(70 * y + 60 * z)
    else:
        strands = 0.12 * np.sin(17 * around + 2 * np.sin(30 * z))
    return np.array(look.hair_colour) * (1 + strands[:, None])


def _shoes(look: Look, attributes: np.ndarray) -> np.ndarray:
    colours = np.repeat(np.array(look.outfit.shoe_print.colours[0])[None], len(attributes), 0)
    colours[attributes[:, 2] < -0.958] = look.sole
    return colours


def _plain(colour: Callable[[Look], Colour]) -> Callable[[Look, np.ndarray], np.ndarray]:
    return lambda look, attributes: np.repeat(np.array(colour(look))[None], len(attributes), 0)


_PAINTERS: dict[Material, tuple[Callable[[Look, np.ndarray], np.ndarray], float]] = {
    Material.SKIN: (_skin, 0.12),
    Material.EYE: (_eye, 0.30),
    Material.HAIR: (_hair, 0.25),
    Material.TOP: (_top, 0.0),
    Material.INNER: (_plain(lambda look: look.outfit.inner_print.colours[0]), 0.0),
    Material.BOTTOM: (_bottom, 0.0),
    Material.SHOES: (_shoes, 0.15),
    Material.HAT: (_plain(lambda look: look.accessories.hat_colour), 0.0),
    Material.BAG: (_plain(lambda look: look.accessories.bag_colour), 0.1),
    Material.GLASSES: (_plain(lambda look: look.accessories.frame_colour), 0.3),
}
