"""Builds: stature, and the lengths and widths of legs, arms, shoulders, hips and head, by scaling bones in the rest pose.

Every bone b has a scaling A_b (3, 3) about its head h_b. Heads move down the chain, h'_b = h'_p + A_p (h_b - h_p) with p the
parent, and the surface by its skin weights, v' = sum_b w_b (h'_b + A_b (v - h_b)). Source: own; statures as in the ANSUR II
survey of adults (men 1.756 m, sd 0.069; women 1.629 m, sd 0.064).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imagpose.people.body import Body, RestBody, load_body

LOWEST_STATURE, HIGHEST_STATURE = 1.50, 1.95
_STATURE = {True: (1.629, 0.064), False: (1.756, 0.069)}  # female -> mean, standard deviation, metres
# Standard deviations of the logarithms of the factors; the baked adults' own spread is added to them.
_LEGS, _ARMS, _SHOULDERS, _HIPS, _HEAD = 0.050, 0.040, 0.040, 0.040, 0.032
_HEAD_OF_STATURE = -0.4  # tall people's heads are not as much larger as they are
# Bones of a segment, and the bone at whose head it ends.
LIMB_SEGMENTS = {
    "upper_arm": (("upperarm01", "upperarm02"), "lowerarm01"), "forearm": (("lowerarm01", "lowerarm02"), "wrist"),
    "thigh": (("upperleg01", "upperleg02"), "lowerleg01"), "shin": (("lowerleg01", "lowerleg02"), "foot"),
}  # fmt: skip
_SPINE_SHARES = {  # of the hips' and of the shoulders' widening
    "spine05": (0.6, 0.0), "spine04": (0.2, 0.2), "spine03": (0.0, 0.5), "spine02": (0.0, 0.8), "spine01": (0.0, 0.9),
}  # fmt: skip


@dataclass(frozen=True)
class Build:
    """Factors on the lengths and widths of a body, 1 as baked, and the stature that it is then brought to.

    Attributes:
        stature: metres, undressed.
        legs, arms: lengths. shoulders, hips: widths. head: size.
    """

    stature: float
    legs: float = 1.0
    arms: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    head: float = 1.0


def sample_build(rng: np.random.Generator, female: bool) -> Build:
    """Draw a build; statures are normal within 1.50 to 1.95 m, factors log-normal within two standard deviations."""
    mean, deviation = _STATURE[female]
    stature = 0.0
    while not LOWEST_STATURE <= stature <= HIGHEST_STATURE:
        stature = float(rng.normal(mean, deviation))

    def factor(scale: float) -> float:
        return float(np.exp(scale * np.clip(rng.normal(), -2, 2)))

    legs, arms, shoulders, hips = (factor(scale) for scale in (_LEGS, _ARMS, _SHOULDERS, _HIPS))
    return Build(stature, legs, arms, shoulders, hips, factor(_HEAD) * (stature / 1.69) ** _HEAD_OF_STATURE)


def apply_build(body: Body, rest: RestBody, build: Build) -> RestBody:
    """A body shape with a build's lengths and widths, scaled as a whole to its stature."""
    scales = _bone_scales(body, rest.bone_heads.astype(np.float64), build)
    heads = np.zeros((len(scales), 3))
    for bone, parent in enumerate(body.bone_parents):
        here = rest.bone_heads[bone]
        heads[bone] = here if parent < 0 else heads[parent] + scales[parent] @ (here - rest.bone_heads[parent])
    shifts = heads - np.einsum("bij,bj->bi", scales, rest.bone_heads)
    flat = np.concatenate([scales, shifts[:, :, None]], 2).reshape(len(scales), 12).astype(np.float32)
    moved = (body.skin @ flat).reshape(-1, 3, 4)
    vertices = np.einsum("nij,nj->ni", moved[:, :, :3], rest.vertices) + moved[:, :, 3]
    size = build.stature / float(np.ptp(vertices[body.bare, 2]))
    return body.with_joints(size * vertices, (size * heads).astype(np.float32))


def _bone_scales(body: Body, heads: np.ndarray, build: Build) -> np.ndarray:
    """A_b (bones, 3, 3) of every bone; one that is not named here keeps its parent's."""
    index = {name: position for position, name in enumerate(body.bone_names)}
    named: dict[str, np.ndarray] = {"root": _axes(build.hips, build.hips**0.5)}
    for bone, (of_hips, of_shoulders) in _SPINE_SHARES.items():
        width = build.hips**of_hips * build.shoulders**of_shoulders
        named[bone] = _axes(width, width**0.5)
    named |= {"neck01": _axes(build.head**0.5, build.head**0.5), "head": build.head * np.eye(3)}
    limbs = {  # length and thickness
        "upper_arm": (build.arms, 1.0), "forearm": (build.arms, 1.0),
        "thigh": (build.legs, build.hips**0.7), "shin": (build.legs, build.hips**0.3),
    }  # fmt: skip
    for side in (".L", ".R"):
        named |= {"clavicle" + side: _axes(build.shoulders), "shoulder01" + side: _axes(build.shoulders)}
        for limb, (bones, end) in LIMB_SEGMENTS.items():
            axis = heads[index[end + side]] - heads[index[bones[0] + side]]
            named |= dict.fromkeys((bone + side for bone in bones), _along(axis, *limbs[limb]))
        named |= {"foot" + side: build.legs**0.6 * np.eye(3), "wrist" + side: build.arms**0.6 * np.eye(3)}
    scales = np.zeros((len(heads), 3, 3))
    for position, name in enumerate(body.bone_names):
        scales[position] = named[name] if name in named else scales[body.bone_parents[position]]
    return scales


def _axes(sideways: float, deep: float = 1.0) -> np.ndarray:
    """Scaling (3, 3) along x and y."""
    return np.diag([sideways, deep, 1.0])


def _along(axis: np.ndarray, length: float, thickness: float) -> np.ndarray:
    """Scaling (3, 3) along an axis and across it."""
    unit = axis / np.linalg.norm(axis)
    return thickness * np.eye(3) + (length - thickness) * np.outer(unit, unit)


def limb_girths(body: Body, rest: RestBody) -> dict[str, float]:
    """Thickness of the middle of each of `LIMB_SEGMENTS` (left side) relative to the template's."""
    average = _template_girths()
    return {name: girth / average[name] for name, girth in _girths(body, rest).items()}


@lru_cache(maxsize=1)
def _template_girths() -> dict[str, float]:
    return _girths(load_body(), load_body().template)


def _girths(body: Body, rest: RestBody) -> dict[str, float]:
    """Mean distance, metres, of the skin from the bone."""
    girths = {}
    for name, vertices in _middles().items():
        start, end = _ends(body, rest, name)
        offset = rest.vertices[vertices] - start
        axis = (end - start) / np.linalg.norm(end - start)
        girths[name] = float(np.linalg.norm(offset - np.outer(offset @ axis, axis), axis=1).mean())
    return girths


@lru_cache(maxsize=1)
def _middles() -> dict[str, np.ndarray]:
    """Vertices about the middle third of each segment, by the template."""
    body = load_body()
    rest, middles = body.template, {}
    for name, (bones, _) in LIMB_SEGMENTS.items():
        start, end = _ends(body, rest, name)
        columns = [body.bone_names.index(bone + ".L") for bone in bones]
        share = np.asarray(body.skin[body.bare][:, columns].sum(1)).ravel()
        along = (rest.vertices[body.bare] - start) @ (end - start) / ((end - start) @ (end - start))
        middles[name] = body.bare[(share > 0.6) & (abs(along - 0.5) < 1 / 6)]
    return middles


def _ends(body: Body, rest: RestBody, name: str) -> list[np.ndarray]:
    """Where a segment of the left side begins and ends, (3,) each."""
    bones, end = LIMB_SEGMENTS[name]
    return [rest.bone_heads[body.bone_names.index(bone + ".L")] for bone in (bones[0], end)]
