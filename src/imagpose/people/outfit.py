"""What a person wears: drawn at random, readable, and cut out of the template's surface. Everybody is fully clothed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from imagpose.people.body import load_body
from imagpose.people.prints import (
    GARMENT_COLOURS,
    Colour,
    Print,
    sample_bottom_print,
    sample_plain,
    sample_top_print,
    sample_unlike,
)
from imagpose.people.solids import Solid, ellipsoid
from imagpose.people.surface import Piece, cut_surface
from imagpose.people.template import Template, smoothstep


class Material(IntEnum):
    """What a face of the mesh is made of."""

    SKIN = 0
    EYE = 1
    HAIR = 2
    TOP = 3
    INNER = 4
    BOTTOM = 5
    SHOES = 6
    HAT = 7
    BAG = 8
    GLASSES = 9


PART_NAMES = ("background", "skin", "hair", "top", "bottom", "shoes", "accessory")
PART_OF_MATERIAL = np.array([1, 1, 2, 3, 3, 4, 5, 6, 6, 6], np.uint8)

_WAIST = 0.12
_SLEEVED = {"tank": 0.0, "long": 0.97, "shirt": 0.97, "jacket": 0.99, "hoodie": 0.98}
_HEMS = {
    "tee": (-0.07, 0.02), "tank": (-0.04, 0.02), "long": (-0.08, 0.02), "shirt": (-0.10, 0.0),
    "jacket": (-0.22, -0.02), "hoodie": (-0.10, -0.02),
}  # fmt: skip
_LAYER = {"tee": 0.008, "tank": 0.006, "long": 0.008, "shirt": 0.010, "jacket": 0.018, "hoodie": 0.018}
_NECKLINES = {  # half width, lowest front depths, back depth, metres
    "crew": (0.082, (0.060, 0.075), 0.035),
    "scoop": (0.095, (0.090, 0.115), 0.045),
    "vee": (0.085, (0.110, 0.150), 0.035),
    "turtle": (0.200, (0.100, 0.100), 0.100),
    "collar": (0.088, (0.100, 0.100), 0.010),
}


# Height of the upper edge of each kind of shoe.
_SHOE_TOPS = {"plain": -0.90, "toe cap": -0.90, "two-tone": -0.90, "socks": -0.83, "boots": -0.78, "tall boots": -0.58}
_SOLES: tuple[Colour, ...] = (
    (0.94, 0.94, 0.92),
    (0.94, 0.94, 0.92),
    (0.12, 0.12, 0.13),
    (0.55, 0.36, 0.18),
    (0.85, 0.30, 0.12),
)


@dataclass(frozen=True)
class Outfit:
    """One set of clothes. Heights are metres in the template's axes (waist 0.12, crotch about -0.08, ankles -0.9).

    Attributes:
        top: tee, tank, long, shirt, jacket or hoodie.
        bottom: trousers, shorts, skirt or dress (then the top reaches down to `leg_end`).
        sleeve: where sleeves end along the arm, 0 shoulder, 1 wrist.
        hem: lower edge of the top.
        tucked: whether the top ends in the waistband.
        neckline: a key of the neckline table; `neck_depth` its depth in front.
        leg_end: lower edge of trousers, shorts, skirt or dress.
        looseness: extra distance of the garments from the body.
        shoe: a key of the table of shoes.
        sole, cuff: colours of the soles and of the cuffs of long sleeves.
        top_print, inner_print, bottom_print: what is printed on them. shoe_print: the shoes' colour and their trim's.
        strap: "none", "backpack" or "shoulder": which bag's straps run over the top.
    """

    top: str
    bottom: str
    sleeve: float
    hem: float
    tucked: bool
    neckline: str
    neck_depth: float
    leg_end: float
    looseness: float
    shoe: str
    sole: Colour
    cuff: Colour
    top_print: Print
    inner_print: Print
    bottom_print: Print
    shoe_print: Print
    strap: str

    @property
    def open_front(self) -> bool:
        """Whether the top is worn over another one (jacket, hoodie)."""
        return self.top in ("jacket", "hoodie")

    @property
    def has_skirt(self) -> bool:
        """Skirt or dress."""
        return self.bottom in ("skirt", "dress")


def sample_outfit(rng: np.random.Generator, female: bool, skin: Colour) -> Outfit:
    """Draw an outfit whose garments stand out against each other and against the skin at their edges."""
    skirts = ("skirt", "skirt", "dress", "dress") if female else ()
    bottom = str(rng.choice(("trousers", "trousers", "trousers", "trousers", "shorts", *skirts)))
    dress_tops, tops = ("tee", "tank", "long"), ("tee", "tee", "long", "shirt", "jacket", "hoodie")
    top = str(rng.choice(dress_tops if bottom == "dress" else (*tops, "tank") if female else tops))
    tucked = bottom == "dress" or (top in ("tee", "long", "tank", "shirt") and rng.random() < 0.3)
    collar = top in ("jacket", "hoodie", "shirt")
    neckline = "collar" if collar else str(rng.choice(("crew", "crew", "scoop", "vee", "turtle")))
    leg_ends = {"trousers": (-0.895, -0.86), "shorts": (-0.46, -0.28), "skirt": (-0.70, -0.34), "dress": (-0.72, -0.36)}
    top_print = sample_top_print(rng, (skin,), plain=top == "jacket" and rng.random() < 0.5)
    shoe = str(rng.choice(list(_SHOE_TOPS), p=(0.28, 0.17, 0.17, 0.12, 0.18, 0.08)))
    if bottom == "trousers" and shoe == "tall boots":
        shoe = "boots"
    bottom_print = sample_bottom_print(rng, (skin, top_print.colours[0]), skirt=bottom == "skirt")
    shoe_print = sample_plain(rng, (skin, bottom_print.colours[0]))
    return Outfit(
        top=top,
        bottom=bottom,
        sleeve=_SLEEVED.get(top, float(rng.uniform(0.24, 0.42))),
        hem=_WAIST - 0.03 if tucked else float(rng.uniform(*_HEMS[top])),
        tucked=tucked,
        neckline=neckline,
        neck_depth=float(rng.uniform(*_NECKLINES[neckline][1])),
        leg_end=float(rng.uniform(*leg_ends[bottom])),
        looseness=float(rng.uniform(0.004, 0.022)),
        shoe=shoe,
        sole=sample_unlike(rng, _SOLES, shoe_print.colours[:1]),
        cuff=sample_unlike(rng, GARMENT_COLOURS, (skin, *top_print.colours[:1])),
        top_print=top_print,
        inner_print=sample_plain(rng, (skin, top_print.colours[0])),
        bottom_print=bottom_print,
        shoe_print=shoe_print,
        strap=str(rng.choice(("none", "backpack", "shoulder"), p=(0.76, 0.12, 0.12))),
    )


def garment_pieces(outfit: Outfit, template: Template) -> list[Piece]:
    """Clothes and the skin they leave uncovered, as pieces of the body's surface."""
    z = template.vertices[:, 2]
    waist_top = _WAIST if outfit.tucked else min(_WAIST, outfit.hem + 0.03)
    neck = _neckline(outfit, template)
    pieces = _top(outfit, template, neck) + _bottom(outfit, template, waist_top)
    shoe_top = _SHOE_TOPS[outfit.shoe]
    pieces.append(_tights(shoe_top - z, 0.007 + 0.012 * smoothstep(-0.93, -0.98, z), Material.SHOES))
    faces, bare = load_body().faces, _bare_skin(outfit, template, neck, shoe_top)
    pieces.append(cut_surface(faces["body"], bare, 0 * z, Material.SKIN))
    pieces.append(cut_surface(faces["eyes"], np.ones_like(z), 0 * z, Material.EYE))
    return pieces


def garment_solids(outfit: Outfit) -> list[Solid]:
    """The hood of a hoodie, which lies on the back of the neck."""
    if outfit.top != "hoodie":
        return []
    return [ellipsoid((0.0, 0.062, 0.555), (0.105, 0.060, 0.050), Material.TOP, bone="spine01")]


def _tights(field: np.ndarray, offset: np.ndarray, material: Material) -> Piece:
    return cut_surface(load_body().faces["tights"], field, offset, material)


def _skirt(field: np.ndarray, offset: np.ndarray, material: Material) -> Piece:
    return cut_surface(load_body().faces["skirt"], field, offset, material)


def _neckline(outfit: Outfit, template: Template) -> np.ndarray:
    """Positive on the cloth side of the neckline, metres."""
    x, y, z = template.vertices.T
    if outfit.neckline == "turtle":
        collar: np.ndarray = 0.625 - z
        return collar
    half_width, _, back = _NECKLINES[outfit.neckline]
    depth = back + (outfit.neck_depth - back) * smoothstep(0.03, -0.05, y)
    drop = np.maximum(0.585 - z, 0)
    if outfit.neckline == "vee":
        edge = abs(x) / half_width + drop / depth - 1
    else:
        edge = np.sqrt((x / half_width) ** 2 + (drop / depth) ** 2) - 1
    above: np.ndarray = edge * 0.07
    return above


def _armhole(template: Template) -> np.ndarray:
    """Positive on the trunk's side of a sleeveless top's edge: a plane over the shoulder that leans outwards below it."""
    x, _, z = template.vertices.T
    inside: np.ndarray = np.minimum(0.75 - template.arm, 0.148 + 1.2 * np.maximum(0.43 - z, 0) - abs(x))
    return inside


def _top(outfit: Outfit, template: Template, neck: np.ndarray) -> list[Piece]:
    z, on_arm = template.vertices[:, 2], template.on_arm
    free = np.ones_like(z)
    sleeve = _armhole(template) if outfit.top == "tank" else np.where(on_arm, outfit.sleeve - template.along_arm, free)
    lowest = max(outfit.hem, _WAIST - 0.03)
    field = np.minimum.reduce([np.where(on_arm, free, z - lowest), sleeve, np.where(on_arm, free, neck)])
    layer = _LAYER[outfit.top]
    looser = 0.5 * outfit.looseness * smoothstep(0.0, 0.4, template.arm)
    offset = layer + 0.006 * smoothstep(0.3, 0.1, z) * ~on_arm + looser
    pieces = [_tights(field, offset, Material.TOP)]
    if not outfit.tucked:  # the part below the waist hangs free
        pieces.append(_skirt(z - outfit.hem, np.full_like(z, layer + 0.006), Material.TOP))
    if outfit.open_front:
        front = template.vertices[:, 1] < -0.01
        under = np.minimum.reduce([z - 0.2, 0.60 - z - 0.03 * front, 0.5 - template.arm])
        pieces.append(_tights(under, np.full_like(z, 0.003), Material.INNER))
    return pieces


def _bottom(outfit: Outfit, template: Template, waist_top: float) -> list[Piece]:
    z = template.vertices[:, 2]
    material = Material.TOP if outfit.bottom == "dress" else Material.BOTTOM
    hip_layer = (0.006 if outfit.tucked else 0.0) * smoothstep(0.0, 0.1, z)
    lining_end = outfit.leg_end + 0.025 if outfit.has_skirt else outfit.leg_end
    legs = np.minimum.reduce([waist_top - z, z - lining_end, 0.5 - template.arm])
    if outfit.has_skirt:
        skirt = np.minimum(z - outfit.leg_end, waist_top + 0.02 - z)
        return [_tights(legs, 0 * z, material), _skirt(skirt, np.full_like(z, 0.006), material)]
    lowest_width = -0.8 if outfit.bottom == "trousers" else outfit.leg_end
    wide = outfit.looseness if outfit.bottom == "trousers" else 0.014
    return [_tights(legs, 0.004 + wide * smoothstep(-0.02, lowest_width, z) + hip_layer, material)]


def _bare_skin(outfit: Outfit, template: Template, neck: np.ndarray, shoe_top: float) -> np.ndarray:
    """Positive on the skin that no garment covers, with a few centimetres of overlap inside each opening."""
    z, on_arm = template.vertices[:, 2], template.on_arm
    nowhere = np.full_like(z, -1.0)
    if outfit.top == "tank":
        arms = 0.05 - _armhole(template)
    else:
        arms = 0.5 * np.where(on_arm, template.along_arm - outfit.sleeve + 0.06, nowhere)
    opening = z - 0.555 if outfit.open_front else np.maximum(z - 0.61, 0.02 - neck)
    head = np.where(~on_arm & (z > 0.38), opening, nowhere)
    lining_end = outfit.leg_end + 0.025 if outfit.has_skirt else outfit.leg_end
    legs = np.where(~on_arm, np.minimum(lining_end + 0.02 - z, z - shoe_top + 0.03), nowhere)
    bare: np.ndarray = np.maximum.reduce([head, arms, legs])
    return bare
