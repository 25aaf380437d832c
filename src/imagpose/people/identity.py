"""A synthetic person: an adult body, a face, hair and clothes, all of it drawn from one seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, vstack

from imagpose.people.accessories import accessory_pieces, accessory_solids, sample_accessories
from imagpose.people.body import LIMB_NAMES, Body, RestBody, load_body, vertex_normals
from imagpose.people.collision import BodyCapsules, measure_capsules
from imagpose.people.face import calm_normals, sample_face
from imagpose.people.hair import hair_pieces, hair_solids, sample_hair_style
from imagpose.people.kinematics import Rig
from imagpose.people.outfit import garment_pieces, garment_solids, sample_outfit
from imagpose.people.proportions import apply_build, limb_girths, sample_build
from imagpose.people.shading import Look
from imagpose.people.solids import Solid
from imagpose.people.surface import Piece
from imagpose.people.template import ATTRIBUTES, load_template

# Key points that the head's bone carries, and the bones that carry the others in equal shares.
_ON_HEAD = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
_LIMB_BONES = {
    "shoulder": ("clavicle", "upperarm01"), "elbow": ("upperarm02", "lowerarm01"), "wrist": ("lowerarm02", "wrist"),
    "hip": ("pelvis", "upperleg01"), "knee": ("upperleg02", "lowerleg01"), "ankle": ("lowerleg02", "foot"),
}  # fmt: skip
_LIMBS_OF_BONES = {  # in the order in which a bone's name is looked up
    "upperarm": "upper_arm", "lowerarm": "forearm", "wrist": "forearm", "finger": "forearm", "metacarpal": "forearm",
    "upperleg": "thigh", "lowerleg": "shin", "foot": "shin", "toe": "shin",
}  # fmt: skip
_CLOSE_GROUPS = ("body", "tights")


@dataclass(frozen=True, eq=False)
class Identity:
    """One dressed person in the rest pose.

    Attributes:
        seed: what it was drawn from.
        female: sex of the body.
        age: the body's age parameter, at least 0.78 (an adult).
        look: colours, hair, clothes.
        bone_names, bone_parents, rest_bone_heads: the rig, heads (bones, 3) in metres.
        rest_vertices, rest_normals: float32 (n, 3).
        skin: sparse (n, bones), rows sum to 1.
        faces: (m, 3). material: uint8 (m,).
        attributes: float32 (n, len(ATTRIBUTES)).
        carries: bool (n,), whether a vertex can rest on the floor: not hanging cloth, hair or a bag.
        limbs: uint8 (n,), index into `body.LIMB_NAMES`.
        girths: thickness of each limb relative to the template's, by `proportions.LIMB_SEGMENTS`.
        rest_keypoints: (18, 3), and the bones that carry them: keypoint_skin, sparse (18, bones).
    """

    seed: int
    female: bool
    age: float
    look: Look
    bone_names: tuple[str, ...]
    bone_parents: np.ndarray
    rest_bone_heads: np.ndarray
    rest_vertices: np.ndarray
    rest_normals: np.ndarray
    skin: csr_matrix
    faces: np.ndarray
    material: np.ndarray
    attributes: np.ndarray
    carries: np.ndarray
    limbs: np.ndarray
    girths: dict[str, float]
    rest_keypoints: np.ndarray
    keypoint_skin: csr_matrix

    @cached_property
    def rig(self) -> Rig:
        """The bones, as motions are solved for them."""
        sole = float(self.rest_vertices[:, 2].min())
        return Rig(self.bone_names, self.bone_parents, self.rest_bone_heads.astype(np.float64), sole)

    @cached_property
    def capsules(self) -> BodyCapsules:
        """What limbs may not pass through."""
        return measure_capsules(self.rest_vertices, self.rest_keypoints, self.girths)


def make_identity(seed: int) -> Identity:
    """The person of a seed; the same seed gives the same person.

    Raises:
        ValueError: the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    rng = np.random.default_rng([seed, 0x1DE])
    body, template = load_body(), load_template()
    female = bool(rng.random() < 0.5)
    rest, age = _sample_body(rng, body, female)
    look = _sample_look(rng, female)
    raised = float(rng.uniform(-0.008, 0.008))
    hat = look.accessories.hat != "none"
    pieces = [
        *garment_pieces(look.outfit, template),
        *hair_pieces(look.hair_style, template, hat, raised),
        *accessory_pieces(look.accessories, template),
    ]
    solids = [
        *garment_solids(look.outfit),
        *hair_solids(look.hair_style, float(rng.random())),
        *accessory_solids(look.accessories, look.outfit.strap),
    ]
    mesh = _assemble(body, rest, pieces, solids)
    keypoints, keypoint_skin = _keypoints(body, rest)
    return Identity(
        seed=seed,
        female=female,
        age=age,
        look=look,
        bone_names=body.bone_names,
        bone_parents=body.bone_parents,
        rest_bone_heads=rest.bone_heads,
        limbs=(mesh["skin"] @ np.eye(len(LIMB_NAMES), dtype=np.float32)[_limbs(body)]).argmax(1).astype(np.uint8),
        girths=limb_girths(body, rest),
        rest_keypoints=keypoints,
        keypoint_skin=keypoint_skin,
        **mesh,
    )


def _sample_body(rng: np.random.Generator, body: Body, female: bool) -> tuple[RestBody, float]:
    """A baked adult with a little of another of the same sex (so an adult again) and a build of its own."""
    first, second = rng.choice(np.flatnonzero(body.female == female), 2, replace=False)
    share = rng.uniform(0.7, 1.0)
    coefficients = share * body.coefficients[first] + (1 - share) * body.coefficients[second]
    rest = apply_build(body, body.rest(coefficients), sample_build(rng, female))
    return rest, float(share * body.age[first] + (1 - share) * body.age[second])


def _sample_look(rng: np.random.Generator, female: bool) -> Look:
    face, hair_colour = sample_face(rng, female)
    accessories = sample_accessories(rng, face.skin)
    return Look(
        face=face,
        hair_colour=hair_colour,
        hair_style=sample_hair_style(rng, female, accessories.hat != "none"),
        outfit=sample_outfit(rng, female, face.skin),
        accessories=accessories,
    )


def _assemble(body: Body, rest: RestBody, pieces: list[Piece], solids: list[Solid]) -> dict[str, Any]:
    """One mesh of all pieces and solids, on the identity's own body."""
    template = load_template()
    normals = vertex_normals(rest.vertices, np.concatenate(list(body.faces.values())))
    first, second, alpha, offset = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("first", "second", "alpha", "offset")
    )
    alpha = alpha[:, None]

    def blend(values: np.ndarray) -> np.ndarray:
        blended: np.ndarray = values[first] * (1 - alpha) + values[second] * alpha
        return blended

    surface_normals = blend(normals)
    surface_normals /= np.maximum(np.linalg.norm(surface_normals, axis=1, keepdims=True), 1e-9)
    surface = blend(rest.vertices) + surface_normals * offset[:, None].astype(np.float32)
    attributes = blend(template.attributes)
    calm = calm_normals(surface_normals, attributes[:, :3])
    skin = body.skin[first].multiply(1 - alpha) + body.skin[second].multiply(alpha)
    worn: list[Piece | Solid] = [*pieces, *solids]
    counts = [*(len(piece.first) for piece in pieces), *(len(solid.vertices) for solid in solids)]
    starts = np.cumsum(counts) - counts
    return {
        "rest_vertices": _joined(surface, (_worn(body, rest, solid) for solid in solids)),
        "rest_normals": _joined(calm, (solid.normals for solid in solids)),
        "skin": csr_matrix(
            vstack([skin, *(_one_bone(body, solid.bone, len(solid.vertices)) for solid in solids)]), dtype=np.float32
        ),
        "faces": np.concatenate([part.faces + start for part, start in zip(worn, starts, strict=True)]),
        "material": np.concatenate([np.full(len(part.faces), part.material, np.uint8) for part in worn]),
        "carries": np.concatenate([_close(body)[first], np.zeros(sum(counts) - len(first), bool)]),
        "attributes": _joined(attributes, map(_solid_attributes, solids)),
    }


def _joined(surface: np.ndarray, solids: Iterable[np.ndarray]) -> np.ndarray:
    """Rows of the vertices on the body's surface, then those of the solids; float32."""
    return np.concatenate([surface, *solids]).astype(np.float32)


def _worn(body: Body, rest: RestBody, solid: Solid) -> np.ndarray:
    """The solid's vertices (n, 3) on the identity: it goes where the skin next to it has gone from the template.

    What is worn on the head grows with it.
    """
    skin = load_template().vertices[body.bare]
    distance = np.linalg.norm(skin - solid.vertices.mean(0), axis=1)
    near = distance < distance.min() + 0.08
    weight = np.exp(-(((distance[near] - distance.min()) / 0.03) ** 2))[:, None]
    before, after = skin[near], rest.vertices[body.bare[near]]
    start, end = ((weight * points).sum(0) / weight.sum() for points in (before, after))
    size = 1.0
    if solid.bone == "head":
        size = np.sqrt((weight * (after - end) ** 2).sum() / (weight * (before - start) ** 2).sum())
    placed: np.ndarray = size * (solid.vertices - start) + end
    return placed


def _solid_attributes(solid: Solid) -> np.ndarray:
    attributes = np.zeros((len(solid.vertices), len(ATTRIBUTES)), np.float32)
    attributes[:, :3], attributes[:, ATTRIBUTES.index("normal_y")] = solid.vertices, solid.normals[:, 1]
    return attributes


def _one_bone(body: Body, bone: str, count: int) -> csr_matrix:
    column = np.full(count, body.bone_names.index(bone))
    return csr_matrix((np.ones(count, np.float32), (np.arange(count), column)), shape=(count, len(body.bone_names)))


def _keypoints(body: Body, rest: RestBody) -> tuple[np.ndarray, csr_matrix]:
    """Rest key points (18, 3) in OpenPose order and the bones that carry them (18, bones)."""
    from imagpose.pose import KEYPOINT_NAMES  # the order of key points has one home

    points = np.zeros((len(KEYPOINT_NAMES), 3), np.float32)
    shares = np.zeros((len(KEYPOINT_NAMES), len(body.bone_names)), np.float32)
    for row, name in enumerate(KEYPOINT_NAMES):
        joints, bones = _carriers(name)
        points[row] = rest.joints[[body.joint_names.index(joint) for joint in joints]].mean(0)
        shares[row, [body.bone_names.index(bone) for bone in bones]] = 1 / len(bones)
    return points, csr_matrix(shares)


def _carriers(keypoint: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """COCO joints whose mean the key point is, the neck that of the shoulders; and the bones it follows."""
    if keypoint == "neck":
        left, right = _carriers("left_shoulder"), _carriers("right_shoulder")
        return left[0] + right[0], left[1] + right[1]
    if keypoint in _ON_HEAD:
        return (keypoint,), ("head",)
    side, joint = keypoint.split("_")
    suffix = ".L" if side == "left" else ".R"
    return (keypoint,), tuple(bone + suffix for bone in _LIMB_BONES[joint])


@lru_cache(maxsize=1)
def _close(body: Body) -> np.ndarray:
    """Whether a vertex of the body is no helper for hanging cloth or hair, bool (n,)."""
    close = np.zeros(body.skin.shape[0], bool)
    for group in _CLOSE_GROUPS:
        close[body.faces[group]] = True
    return close


@lru_cache(maxsize=1)
def _limbs(body: Body) -> np.ndarray:
    """Limb of each bone, uint8 (bones,)."""
    limbs = np.zeros(len(body.bone_names), np.uint8)
    for index, name in enumerate(body.bone_names):
        if name.startswith(("head", "eye", "neck02", "neck03")):
            limbs[index] = LIMB_NAMES.index("head")
        for start, limb in _LIMBS_OF_BONES.items():
            if name.startswith(start):
                limbs[index] = LIMB_NAMES.index(("left_" if name.endswith(".L") else "right_") + limb)
    return limbs
