"""Posing: the dressed mesh and key points that follow the bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagpose.people.identity import Identity
from imagpose.people.kinematics import Rotations


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


def pose_identity(identity: Identity, rotations: Rotations) -> PosedMesh:
    """The identity's dressed mesh in a pose.

    Args:
        identity: who.
        rotations: rotation (3, 3) per bone name, see `kinematics`; bones that are not named keep their rest direction.

    Raises:
        ValueError: a bone's name is unknown.
    """
    unknown = set(rotations) - set(identity.bone_names)
    if unknown:
        raise ValueError(f"unknown bone {min(unknown)!r}; the body has {', '.join(identity.bone_names[:4])}, ...")
    flat = identity.rig.forward(rotations).all().reshape(-1, 12).astype(np.float32)
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
