"""The bones as rigid rods: forward kinematics, and rotations that give arms and legs wanted directions.

Conventions of the body: world axes of the rest pose (an A-pose), metres, x towards the person's left, y backwards,
z up. A rotation turns a bone and all that hangs on it about the bone's head, in world axes of the rest pose, composed
down the chain. Source: own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Rotations = dict[str, np.ndarray]
# Sign of x of each side in the body's axes, by the suffix of its bones' names.
SIDES = {".L": 1.0, ".R": -1.0}
_STILL = np.eye(3)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector (3,) at length 1."""
    return vector / math.sqrt(float(vector @ vector))


def rotation(axis: np.ndarray | tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rotation matrix (3, 3) about `axis` by `degrees`, right-handed (Rodrigues)."""
    x, y, z = unit(np.asarray(axis, dtype=np.float64))
    cross = _cross_matrix(x, y, z)
    angle = math.radians(degrees)
    turn: np.ndarray = _STILL + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
    return turn


def _cross_matrix(x: float, y: float, z: float) -> np.ndarray:
    """Matrix (3, 3) of the vector product with (x, y, z) on its left."""
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def _cross(first: np.ndarray | tuple[float, ...], second: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Vector product (3,) of two vectors; numpy's takes eight times as long for a single one."""
    (a, b, c), (x, y, z) = np.asarray(first).tolist(), np.asarray(second).tolist()
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x])


@dataclass(frozen=True, eq=False)
class Rig:
    """The rest position of the bones of one identity.

    Attributes:
        names: bone names; a parent stands before its children.
        parents: (bones,) index of each bone's parent, -1 for the root.
        heads: (bones, 3) where each bone begins, metres.
        sole: height of the soles in the same axes, metres.
    """

    names: tuple[str, ...]
    parents: np.ndarray
    heads: np.ndarray
    sole: float

    @cached_property
    def index(self) -> dict[str, int]:
        """Index of each bone by name."""
        return {name: position for position, name in enumerate(self.names)}

    def head(self, name: str) -> np.ndarray:
        """Rest position (3,) of a bone's head."""
        place: np.ndarray = self.heads[self.index[name]]
        return place

    def forward(self, rotations: Rotations) -> BoneMotions:
        """Rigid motion of every bone; what is not named keeps its rest direction."""
        return BoneMotions(self, rotations)


class BoneMotions:
    """The motions of a rig's bones, each computed when it is asked for: most questions concern 20 of 104 bones."""

    def __init__(self, rig: Rig, rotations: Rotations) -> None:
        self._rig, self._rotations = rig, rotations
        self._known: dict[int, np.ndarray] = {-1: np.eye(3, 4)}

    def __getitem__(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3, 3) and shift (3,) of a bone: a rest point p that hangs on it goes to rotation @ p + shift."""
        motion = self._motion(self._rig.index[name])
        return motion[:, :3], motion[:, 3]

    def all(self) -> np.ndarray:
        """Rotations and shifts of all bones, (bones, 3, 4)."""
        return np.array([self._motion(bone) for bone in range(len(self._rig.names))])

    def _motion(self, bone: int) -> np.ndarray:
        motion = self._known.get(bone)
        if motion is None:
            rig = self._rig
            motion = self._motion(int(rig.parents[bone]))
            own = self._rotations.get(rig.names[bone])
            if own is not None:  # the bone turns about its head, on a parent that moves by `motion`
                above, head = motion, rig.heads[bone]
                motion = np.empty((3, 4))
                motion[:, :3] = above[:, :3] @ own
                motion[:, 3] = above[:, :3] @ (head - own @ head) + above[:, 3]
            self._known[bone] = motion
        return motion


def two_bone_directions(
    start: np.ndarray, goal: np.ndarray, first: float, second: float, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Directions of two rods of length `first` and `second` that lead from `start` to `goal`, bent towards `pole`.

    A goal out of reach is approached as far as the rods allow (law of cosines).
    """
    span = goal - start
    distance = float(np.clip(math.sqrt(float(span @ span)), abs(first - second) + 1e-3, (first + second) * 0.9995))
    along = unit(span)
    aside = unit(pole - (pole @ along) * along)
    cosine = np.clip((first**2 + distance**2 - second**2) / (2 * first * distance), -1.0, 1.0)
    upper = cosine * along + math.sqrt(1 - cosine**2) * aside
    return upper, unit(along * distance - first * upper)


def _frame(direction: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    return np.stack([direction, hinge, _cross(direction, hinge)], 1)


def _swing(start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The smallest rotation that takes one unit vector to another."""
    axis, cosine = _cross(start, goal), float(start @ goal)
    if cosine < -0.9999:
        return rotation(_cross(start, (0.3, 0.9, 0.2)), 180.0)
    cross = _cross_matrix(*axis)
    turn: np.ndarray = _STILL + cross + cross @ cross / (1 + cosine)
    return turn


def arm_rotations(rig: Rig, side: str, upper: np.ndarray, forearm: np.ndarray) -> Rotations:
    """Rotations that point upper arm and forearm in given directions of the torso's frame, the elbow a true hinge.

    The hinge axis is perpendicular to both directions; the twist that this asks of the upper arm is shared by its two
    bones, and the clavicle rises with an arm lifted above the horizontal.

    Args:
        rig: the identity's bones.
        side: ".L" or ".R".
        upper, forearm: unit vectors (3,) in the torso's frame.
    """
    shoulder, elbow, wrist = (rig.head(bone + side) for bone in ("upperarm01", "lowerarm01", "wrist"))
    rest_upper, rest_forearm = unit(elbow - shoulder), unit(wrist - elbow)
    rest_hinge = unit(_cross(rest_upper, rest_forearm))
    hinge = _cross(upper, forearm)
    if hinge @ hinge < 0.01:  # a straight arm: the hinge that a natural bend forwards and up would have
        hinge = _cross(upper, (0.0, -1.0, 0.2))
    hinge = unit(hinge)
    whole = _frame(upper, hinge) @ _frame(rest_upper, rest_hinge).T
    swing = _swing(rest_upper, upper)
    twist = swing.T @ whole
    skew = np.array([twist[2, 1] - twist[1, 2], twist[0, 2] - twist[2, 0], twist[1, 0] - twist[0, 1]])
    half_twist = math.degrees(math.atan2(float(skew @ rest_upper), float(np.trace(twist) - 1))) / 2

    elevation = math.degrees(math.asin(float(np.clip(upper[2], -1, 1))))
    clavicle = rotation((0, 1, 0), -SIDES[side] * float(np.clip((elevation + 10) * 0.3, 0, 25)))
    rest_bend = math.acos(float(np.clip(rest_upper @ rest_forearm, -1, 1)))
    bend = math.acos(float(np.clip(upper @ forearm, -1, 1)))
    return {
        "clavicle" + side: clavicle,
        "upperarm01" + side: clavicle.T @ swing @ rotation(rest_upper, half_twist),
        "upperarm02" + side: rotation(rest_upper, half_twist),
        "lowerarm01" + side: rotation(rest_hinge, math.degrees(bend - rest_bend)),
    }


def leg_rotations(
    rig: Rig, side: str, hip_turn: np.ndarray, hip: np.ndarray, ankle: np.ndarray, pole: np.ndarray,
    foot_turn: np.ndarray,
) -> Rotations:  # fmt: skip
    """Rotations that bring an ankle to a point, the knee bent towards `pole` and the foot turned as given.

    Args:
        rig: the identity's bones.
        side: ".L" or ".R".
        hip_turn: (3, 3) rotation of the pelvis in the world.
        hip, ankle: (3,) points in the world.
        pole: (3,) direction in the world towards which the knee bends.
        foot_turn: (3, 3) rotation of the foot in the world, the identity for a foot flat on the floor as in rest.
    """
    rest_hip, rest_knee, rest_ankle = (rig.head(bone + side) for bone in ("upperleg01", "lowerleg01", "foot"))
    thigh, shin = rest_knee - rest_hip, rest_ankle - rest_knee
    thigh_length, shin_length = float(np.linalg.norm(thigh)), float(np.linalg.norm(shin))
    upper, lower = two_bone_directions(hip, ankle, thigh_length, shin_length, pole)
    rest_upper = thigh / thigh_length
    sideways = np.array([1.0, 0.0, 0.0])
    rest_hinge = unit(sideways - (sideways @ rest_upper) * rest_upper)
    hinge = unit(_cross(pole, unit(ankle - hip)))
    hinge = unit(hinge - (hinge @ upper) * upper)
    thigh_turn = _frame(upper, hinge) @ _frame(rest_upper, rest_hinge).T
    shin_in_thigh = _swing(shin / shin_length, thigh_turn.T @ lower)
    return {
        "upperleg01" + side: hip_turn.T @ thigh_turn,
        "lowerleg01" + side: shin_in_thigh,
        "foot" + side: (thigh_turn @ shin_in_thigh).T @ foot_turn,
    }
