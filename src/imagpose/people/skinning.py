"""Posing: forward kinematics, and the dressed mesh and key points that follow the bones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from imagpose.people.identity import Identity


@dataclass(frozen=True, eq=False)
class PosedMesh:
    """A dressed person in a pose, standing on the floor z = 0, facing -y.

    Attributes:
        vertices, normals: float32 (n, 3).
        faces: int (m, 3). material: uint8 (m,), `outfit.Material`.
        attributes: float32 (n, len(ATTRIBUTES)) in the template's axes.
        keypoints: float32 (18, 3), OpenPose order, metres.
        limbs: uint8 (n,), index into `body.LIMB_NAMES`.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    material: np.ndarray
    attributes: np.ndarray
    keypoints: np.ndarray
    limbs: np.ndarray


def normalize(vectors: np.ndarray) -> None:
    """Bring vectors (n, 3) to length 1, in place. By columns: `numpy.linalg.norm` along rows of three is 3 times slower."""
    x, y, z = vectors.T
    length = np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)
    for column in (x, y, z):
        column /= length


def turn_bone(above: np.ndarray, own: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Rigid motion (3, 4) of a bone that turns by `own` (3, 3) about its head (3,), on a parent that moves by `above`."""
    motion = np.empty((3, 4))
    motion[:, :3] = above[:, :3] @ own
    motion[:, 3] = above[:, :3] @ (head - own @ head) + above[:, 3]
    return motion


def bone_transforms(
    names: tuple[str, ...], parents: np.ndarray, heads: np.ndarray, rotations: dict[str, np.ndarray]
) -> np.ndarray:
    """Rigid motion of every bone, (bones, 3, 4).

    Each rotation turns a bone about its head, in world axes of the rest pose, and all that hangs on it (own convention).
    """
    motions: list[np.ndarray] = []
    for name, parent, head in zip(names, parents.tolist(), heads, strict=True):
        above = motions[parent] if parent >= 0 else np.eye(3, 4)
        own = rotations.get(name)
        motions.append(above if own is None else turn_bone(above, own, head))
    return np.array(motions)


def pose_identity(identity: Identity, rotations: dict[str, np.ndarray]) -> PosedMesh:
    """The identity's dressed mesh in a pose.

    Args:
        identity: who.
        rotations: rotation (3, 3) per bone name; bones that are not named keep their rest direction.

    Raises:
        ValueError: a bone's name is unknown.
    """
    unknown = set(rotations) - set(identity.bone_names)
    if unknown:
        raise ValueError(f"unknown bone {min(unknown)!r}; the body has {', '.join(identity.bone_names[:4])}, ...")
    bones = bone_transforms(identity.bone_names, identity.bone_parents, identity.rest_bone_heads, rotations)
    flat = bones.reshape(len(bones), 12).astype(np.float32)
    motion = (identity.skin @ flat).reshape(-1, 3, 4)
    vertices = np.einsum("nij,nj->ni", motion[:, :, :3], identity.rest_vertices) + motion[:, :, 3]
    normals = np.einsum("nij,nj->ni", motion[:, :, :3], identity.rest_normals)
    normalize(normals)
    joint_motion = (identity.keypoint_skin @ flat).reshape(-1, 3, 4)
    keypoints = np.einsum("nij,nj->ni", joint_motion[:, :, :3], identity.rest_keypoints) + joint_motion[:, :, 3]
    floor = np.array([0.0, 0.0, vertices[identity.carries, 2].min()], np.float32)
    return PosedMesh(
        vertices - floor,
        normals,
        identity.faces,
        identity.material,
        identity.attributes,
        keypoints - floor,
        identity.limbs,
    )
