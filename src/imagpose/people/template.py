"""Where things are on the template body: the fields by which garments and hair are cut and on which prints are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imagpose.people.body import load_body, vertex_normals

# Columns of the attributes that every mesh vertex carries and that the shader reads per pixel.
ATTRIBUTES = (
    "x", "y", "z", "normal_y", "along_arm", "around_arm_cos", "around_arm_sin", "arm",
)  # fmt: skip
# The origin of the template's axes relative to the middle of the hips, metres: a little behind and above it.
_ORIGIN = np.array([0.0, 0.013, 0.032], np.float32)
_ARM_BONES = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")


def smoothstep(start: float, end: float, values: np.ndarray) -> np.ndarray:
    """0 before `start`, 1 after `end`, smooth between; `end` may be smaller than `start`."""
    t = np.clip((values - start) / (end - start), 0.0, 1.0)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True, eq=False)
class Template:
    """Fields over the template's n vertices.

    Attributes:
        vertices: (n, 3).
        arm: (n,) share of the skin weights that arm and hand bones hold, 0..1.
        along_arm: (n,) 0 at the shoulder, 0.5 at the elbow, 1 at the wrist; -0.2 off the arms.
        attributes: (n, len(ATTRIBUTES)).
        joints: COCO joint name -> (3,).
    """

    vertices: np.ndarray
    arm: np.ndarray
    along_arm: np.ndarray
    attributes: np.ndarray
    joints: dict[str, np.ndarray]

    @property
    def on_arm(self) -> np.ndarray:
        """(n,) bool."""
        return self.arm > 0.35


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Fields of the package's body, computed once per process."""
    body = load_body()
    joints = dict(zip(body.joint_names, body.template.joints, strict=True))
    origin = (joints["left_hip"] + joints["right_hip"]) / 2 + _ORIGIN
    vertices = body.template.vertices - origin
    joints = {name: joint - origin for name, joint in joints.items()}
    normals = vertex_normals(vertices, np.concatenate(list(body.faces.values())))
    arm = np.zeros(len(vertices), np.float32)
    along = np.full(len(vertices), -0.2, np.float32)
    around = np.zeros((len(vertices), 2), np.float32)
    for suffix, side in ((".L", "left"), (".R", "right")):
        bones = [i for i, n in enumerate(body.bone_names) if n.endswith(suffix) and n.startswith(_ARM_BONES)]
        share = np.asarray(body.skin[:, bones].sum(1)).ravel()
        arm += share
        near = share > 0.35
        shoulder, elbow, wrist = (joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
        along[near] = _along(vertices[near], shoulder, elbow, wrist)
        around[near] = _around(vertices[near], along[near], shoulder, elbow, wrist)
    attributes = np.concatenate([vertices, normals[:, 1:2], along[:, None], around, arm[:, None]], 1).astype(np.float32)
    return Template(vertices, arm, along, attributes, joints)


def _along(points: np.ndarray, shoulder: np.ndarray, elbow: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    upper, fore = elbow - shoulder, wrist - elbow
    on_upper = (points - shoulder) @ upper / (upper @ upper)
    on_fore = (points - elbow) @ fore / (fore @ fore)
    along: np.ndarray = np.maximum(np.where(on_upper < 1, on_upper * 0.5, 0.5 + 0.5 * np.maximum(on_fore, 0)), -0.1)
    return along


def _around(
    points: np.ndarray, along: np.ndarray, shoulder: np.ndarray, elbow: np.ndarray, wrist: np.ndarray
) -> np.ndarray:
    """Unit directions (n, 2) about the upper arm's axis, which pass into those about the forearm's at the elbow."""
    on_forearm = smoothstep(0.4, 0.6, along)[:, None]
    upper, fore = _about_axis(points, shoulder, elbow), _about_axis(points, elbow, wrist)
    directions = (1 - on_forearm) * upper + on_forearm * fore
    unit: np.ndarray = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
    return unit


def _about_axis(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Unit directions (n, 2) of points about an axis, in the plane perpendicular to it."""
    axis = (end - start) / np.linalg.norm(end - start)
    first = np.cross(axis, (0.0, 1.0, 0.0))
    first /= np.linalg.norm(first)
    radial = (points - start) @ np.stack([first, np.cross(axis, first)], 1)
    unit: np.ndarray = radial / np.maximum(np.linalg.norm(radial, axis=1, keepdims=True), 1e-9)
    return unit
