"""Motions drawn from hand-written priors: a stance for the lower body, a gesture for the arms, head and fingers, noise.

A motion is drawn without a body and then solved for one: legs and reaching arms by inverse kinematics. Where a limb
would pass through that body, the feet are set wider apart and the arms held further out. Source: own priors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from imagpose.people.collision import BodyCapsules, leg_penetration, penetration
from imagpose.people.kinematics import (
    SIDES,
    BoneMotions,
    Rotations,
    Skeleton,
    arm_rotations,
    rotation,
    two_bone_directions,
    unit,
)
from imagpose.people.stances import STANCES, Stance, stance_rotations

__all__ = [
    "DEEP_KINDS",
    "KINDS",
    "MAX_PENETRATION",
    "Motion",
    "Posture",
    "interpolate_rotations",
    "sample_motion",
    "solve_motion",
]

MAX_PENETRATION = 0.01
_ATTEMPTS = 12
_WIDER = 0.012  # of the leg, per attempt
_TORSO = "spine01"
Directions = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Motion:
    """What a person does, whatever the body.

    Attributes:
        kind: a key of `KINDS`.
        stance: feet, pelvis and spine in units of the body's own legs.
        gesture_seed: seed of the gesture's small variations; the same on every body.
        nod, turn, tilt: degrees by which the head is lowered, turned to the person's left and tilted.
        curls: degrees by which each joint of the fingers is bent, left and right hand.
    """

    kind: str
    stance: Stance
    gesture_seed: int
    nod: float
    turn: float
    tilt: float
    curls: tuple[float, float]

    @property
    def needs_seat(self) -> bool:
        """Whether the person sits on something that the scene must provide."""
        return KINDS[self.kind].stance == "sit"


@dataclass(frozen=True, eq=False)
class Posture:
    """A motion solved for one body.

    Attributes:
        kind: a key of `KINDS`.
        rotations: rotation (3, 3) of every bone that is not at rest, by name.
        penetration: metres by which the worst limb passes through the body; where it is `MAX_PENETRATION` or more, this
            body cannot do the motion without it.
        needs_seat: whether the person sits on something that the scene must provide.
    """

    kind: str
    rotations: Rotations
    penetration: float
    needs_seat: bool = False


@dataclass(frozen=True)
class _Figure:
    """What a gesture may look at: the bones, the trunk's measures, the motion so far and how far out to keep the arms."""

    skeleton: Skeleton
    body: BodyCapsules
    motion: BoneMotions
    spread: float

    def aim(self, side: str, upper: tuple[float, float, float], forearm: tuple[float, float, float]) -> Directions:
        """Directions in the torso's frame, given as (outwards, backwards, up)."""
        mirror = np.array([SIDES[side], 1.0, 1.0])
        return unit((np.array(upper) + (self.spread, 0, 0)) * mirror), unit(np.array(forearm) * mirror)

    def reach(self, side: str, goal: np.ndarray, pole: tuple[float, float, float]) -> Directions:
        """Directions that bring the wrist to a point of the torso's rest frame, the elbow towards (out, back, up)."""
        shoulder, elbow, wrist = (self.skeleton.head(bone + side) for bone in ("upperarm01", "lowerarm01", "wrist"))
        mirror = np.array([SIDES[side], 1.0, 1.0])
        lengths = float(np.linalg.norm(elbow - shoulder)), float(np.linalg.norm(wrist - elbow))
        return two_bone_directions(shoulder, goal, *lengths, (np.array(pole) + (self.spread, 0, 0)) * mirror)

    def reach_world(self, side: str, goal: np.ndarray, pole: tuple[float, float, float]) -> Directions:
        """As `reach`, for a point of the world (root at its rest place)."""
        turn, shift = self.motion[_TORSO]
        return self.reach(side, turn.T @ (goal - shift), pole)

    def world(self, bone: str) -> np.ndarray:
        """Where a bone's head is in the world."""
        turn, shift = self.motion[bone]
        return turn @ self.skeleton.head(bone) + shift

    def on_trunk(self, level: str) -> np.ndarray:
        """Middle of a level of the trunk ("chest", "waist", "hips") in rest."""
        return self.body.trunk[level][1].mean(0)


Gesture = Callable[[_Figure, np.random.Generator], dict[str, Directions]]


def _noise(rng: np.random.Generator, scale: float) -> float:
    return float(np.clip(rng.normal(), -2, 2) * scale)


def _hanging(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    return figure.aim(
        side,
        (0.20 + abs(_noise(rng, 0.05)), _noise(rng, 0.07), -1.0),
        (0.10 + _noise(rng, 0.05), -0.22 + _noise(rng, 0.10), -1.0),
    )


def _hang(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    return {side: _hanging(figure, rng, side) for side in SIDES}


def _one(gesture: Callable[[_Figure, np.random.Generator, str], Directions]) -> Gesture:
    """One arm makes the gesture, the other hangs."""

    def pose(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
        chosen = ".L" if rng.random() < 0.5 else ".R"
        return {side: (gesture if side == chosen else _hanging)(figure, rng, side) for side in SIDES}

    return pose


def _two(gesture: Callable[[_Figure, np.random.Generator, str], Directions]) -> Gesture:
    """Both arms make the gesture."""
    return lambda figure, rng: {side: gesture(figure, rng, side) for side in SIDES}


def _swing(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    """Walking arms: each swings with the opposite leg."""
    arms = {}
    ahead = figure.world("foot.R")[1] - figure.world("foot.L")[1]
    for side, sign in SIDES.items():
        forwards = -sign * ahead * 0.55 + _noise(rng, 0.05)
        arms[side] = figure.aim(
            side, (0.22, -forwards, -1.0), (0.08, -1.3 * forwards - 0.22 - abs(_noise(rng, 0.08)), -1.0)
        )
    return arms


def _pump(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    """Running arms: bent at a right angle, each with the opposite leg."""
    left_knee = figure.world("lowerleg01.L")[1]
    right_knee = figure.world("lowerleg01.R")[1]
    arms = {}
    for side, sign in SIDES.items():
        forwards = 0.55 * sign * (1 if left_knee > right_knee else -1) + _noise(rng, 0.08)
        arms[side] = figure.aim(
            side, (0.30, -forwards, -0.85), (-0.05, -0.95, 0.25 + 0.8 * forwards + _noise(rng, 0.1))
        )
    return arms


def _on_hip(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    waist = 0.45 * figure.on_trunk("waist") + 0.55 * figure.on_trunk("hips")
    outwards = figure.body.half_width + 0.07 + 0.4 * figure.spread
    goal = waist + np.array([SIDES[side] * outwards, 0.0 + _noise(rng, 0.02), 0.03 + _noise(rng, 0.02)])
    return figure.reach(side, goal, (1.0, 0.45 + _noise(rng, 0.15), -0.1))


def _in_pocket(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    outwards = figure.body.half_width + 0.03 + 0.3 * figure.spread
    goal = figure.on_trunk("hips") + np.array(
        [SIDES[side] * outwards, -0.03 + _noise(rng, 0.02), 0.06 + _noise(rng, 0.02)]
    )
    return figure.reach(side, goal, (0.8, 0.8, 0.0))


def _raised(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    return figure.aim(
        side, (0.55 + _noise(rng, 0.25), -0.1 + _noise(rng, 0.1), 1.0), (0.1 + _noise(rng, 0.3), -0.15, 1.0)
    )


def _waving(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    return figure.aim(
        side, (1.0, -0.15 + _noise(rng, 0.1), -0.1 + _noise(rng, 0.25)), (0.30 + _noise(rng, 0.2), -0.25, 1.0)
    )


def _out(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    return figure.aim(
        side,
        (1.0, _noise(rng, 0.15), -0.35 + _noise(rng, 0.3)),
        (0.9, -0.25 + _noise(rng, 0.15), -0.2 + _noise(rng, 0.35)),
    )


def _phoning(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    goal = figure.skeleton.head("head") + np.array([SIDES[side] * (0.15 + 0.3 * figure.spread), -0.13, -0.07])
    return figure.reach(side, goal + _noise(rng, 0.01), (0.4, -0.1, -1.0))


def _at_chin(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    goal = figure.skeleton.head("head") + np.array([SIDES[side] * 0.05, -0.17 - 0.3 * figure.spread, -0.14])
    return figure.reach(side, goal + _noise(rng, 0.01), (0.3, -0.1, -1.0))


def _held_out(figure: _Figure, rng: np.random.Generator, side: str) -> Directions:
    return figure.aim(
        side, (0.28, -0.25 + _noise(rng, 0.2), -1.0), (0.12 + _noise(rng, 0.15), -1.0, 0.05 + _noise(rng, 0.25))
    )


def _clasp(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    """Hands together in front of the belly, one over the other."""
    level = figure.on_trunk("waist") if rng.random() < 0.5 else figure.on_trunk("hips") + (0, 0, 0.05)
    lower = 1 if rng.random() < 0.5 else -1
    arms = {}
    for side, sign in SIDES.items():
        ahead = figure.body.half_depth + 0.085 + figure.spread
        height = 0.03 * lower * sign
        arms[side] = figure.reach(side, level + np.array([sign * 0.085, -ahead, height]), (1.0, 0.5, -0.4))
    return arms


def _crossed(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    """Forearms crossed before the chest, one above and in front of the other."""
    upper = 1 if rng.random() < 0.5 else -1
    chest = 0.65 * figure.on_trunk("chest") + 0.35 * figure.on_trunk("waist")
    arms = {}
    for side, sign in SIDES.items():
        over = upper * sign
        ahead = figure.body.half_depth + 0.085 + 0.025 * over + 0.6 * figure.spread
        arms[side] = figure.reach(side, chest + np.array([-sign * 0.055, -ahead, 0.045 * over]), (1.0, -0.15, -0.8))
    return arms


def _behind(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    """Hands together behind the back."""
    lower = 1 if rng.random() < 0.5 else -1
    arms = {}
    for side, sign in SIDES.items():
        goal = figure.on_trunk("hips") + np.array(
            [sign * 0.10, figure.body.half_depth + 0.075 + 0.5 * figure.spread, 0.06 + 0.02 * lower * sign]
        )
        arms[side] = figure.reach(side, goal, (1.0, 0.6, 0.0))
    return arms


def _on_knees(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    """Each hand on its own thigh, near the knee."""
    arms = {}
    share = rng.uniform(0.62, 0.9)
    for side in SIDES:
        hip, knee = figure.world("upperleg01" + side), figure.world("lowerleg01" + side)
        shin = unit(figure.world("foot" + side) - knee)
        thigh = unit(knee - hip)
        above = -unit(shin - (shin @ thigh) * thigh)
        goal = hip + share * (knee - hip) + (0.115 + 0.2 * figure.spread) * above
        arms[side] = figure.reach_world(side, goal, (0.7, 0.4, -0.6))
    return arms


def _forearms_on_knees(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    """Both hands before the knees, as one crouches to look at something."""
    arms = {}
    for side, sign in SIDES.items():
        knee = figure.world("lowerleg01" + side)
        goal = knee + np.array([-sign * 0.02, -0.10 - 0.3 * figure.spread, 0.10 + _noise(rng, 0.02)])
        arms[side] = figure.reach_world(side, goal, (0.8, 0.2, -0.4))
    return arms


def _propped(figure: _Figure, rng: np.random.Generator) -> dict[str, Directions]:
    """Fingertips on the floor behind a person who sits on it: the wrists are a hand's length above."""
    above_floor = min(figure.world("foot" + side)[2] for side in SIDES) + 0.07
    arms = {}
    for side, sign in SIDES.items():
        hip = figure.world("upperleg01" + side)
        goal = np.array([hip[0] + sign * (0.14 + figure.spread), hip[1] + 0.28 + _noise(rng, 0.03), above_floor])
        arms[side] = figure.reach_world(side, goal, (0.5, 1.0, 0.0))
    return arms


@dataclass(frozen=True)
class _Kind:
    """A stance of `STANCES`, a gesture and how often the pair is drawn."""

    stance: str
    gesture: Gesture
    weight: float


KINDS: dict[str, _Kind] = {
    "stand": _Kind("stand", _hang, 2.0),
    "contrapposto": _Kind("contrapposto", _hang, 1.6),
    "walk": _Kind("walk", _swing, 2.4),
    "run": _Kind("run", _pump, 0.6),
    "lunge": _Kind("lunge", _two(_on_hip), 0.3),
    "hips": _Kind("stand", _two(_on_hip), 1.0),
    "one_hip": _Kind("contrapposto", _one(_on_hip), 1.2),
    "pocket": _Kind("contrapposto", _one(_in_pocket), 0.6),
    "pockets": _Kind("stand", _two(_in_pocket), 0.6),
    "clasp": _Kind("stand", _clasp, 0.8),
    "crossed": _Kind("contrapposto", _crossed, 0.6),
    "behind": _Kind("stand", _behind, 0.5),
    "raise": _Kind("stand", _two(_raised), 0.6),
    "wave": _Kind("stand", _one(_waving), 0.8),
    "out": _Kind("stand", _two(_out), 0.5),
    "phone": _Kind("contrapposto", _one(_phoning), 0.6),
    "chin": _Kind("contrapposto", _one(_at_chin), 0.4),
    "hold": _Kind("stand", _one(_held_out), 0.5),
    "sit": _Kind("sit", _on_knees, 0.7),
    "sit_on_floor": _Kind("sit_on_floor", _propped, 0.3),
    "crouch": _Kind("crouch", _forearms_on_knees, 0.5),
    "kneel": _Kind("kneel", _on_knees, 0.4),
}
DEEP_KINDS = frozenset(
    name for name, kind in KINDS.items() if kind.stance in ("sit", "sit_on_floor", "crouch", "kneel")
)


def sample_motion(rng: np.random.Generator, kinds: tuple[str, ...] = tuple(KINDS)) -> Motion:
    """Draw a motion.

    Args:
        rng: source of all randomness.
        kinds: keys of `KINDS` to draw from, by their weights.
    """
    weights = np.array([KINDS[kind].weight for kind in kinds])
    kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
    stance = STANCES[KINDS[kind].stance](rng)
    # The head looks ahead whatever the trunk does, within what a neck can turn.
    return Motion(
        kind=kind,
        stance=stance,
        gesture_seed=int(rng.integers(2**31)),
        nod=_noise(rng, 5) - 0.55 * (stance.lean + stance.spine[0]) + (6 if kind in ("phone", "chin") else 0),
        turn=float(np.clip(_noise(rng, 14) - 0.5 * stance.spine[2], -40, 40)),
        tilt=_noise(rng, 3),
        curls=(12 + _noise(rng, 5), 12 + _noise(rng, 5)),
    )


def solve_motion(motion: Motion, skeleton: Skeleton, body: BodyCapsules) -> Posture:
    """The motion on one body.

    Returns:
        The first of a dozen attempts with a penetration below `MAX_PENETRATION`, each with the arms held a little further
        out; else the one that penetrates least. If the legs pass through each other, the feet are first set wider.
    """
    stance = motion.stance
    for _ in range(_ATTEMPTS):
        below = stance_rotations(skeleton, stance)
        if leg_penetration(skeleton, body, below) < MAX_PENETRATION:
            break
        feet = {side: replace(foot, aside=foot.aside + _WIDER) for side, foot in stance.feet.items()}
        stance = replace(stance, feet=feet)
    best: Posture | None = None
    placed = skeleton.forward(below)
    for attempt in range(_ATTEMPTS):
        rotations = below | _upper_body(motion, _Figure(skeleton, body, placed, 0.02 * attempt))
        depth = penetration(skeleton, body, rotations)
        if best is None or depth < best.penetration:
            best = Posture(motion.kind, rotations, depth, motion.needs_seat)
        if depth < MAX_PENETRATION:
            break
    assert best is not None
    return best


def interpolate_rotations(first: Rotations, second: Rotations, share: float) -> Rotations:
    """Spherical interpolation of every bone's rotation: `first` at share 0, `second` at 1, along the shorter arc."""
    bones = list(first | second)
    still = np.eye(3)
    start = Rotation.from_matrix([first.get(bone, still) for bone in bones])
    end = Rotation.from_matrix([second.get(bone, still) for bone in bones])
    between = start * Rotation.from_rotvec(share * (start.inv() * end).as_rotvec())
    return dict(zip(bones, between.as_matrix(), strict=True))


def _upper_body(motion: Motion, figure: _Figure) -> Rotations:
    rotations: Rotations = {}
    rng = np.random.default_rng(motion.gesture_seed)
    for side, (upper, forearm) in KINDS[motion.kind].gesture(figure, rng).items():
        rotations |= arm_rotations(figure.skeleton, side, upper, forearm)
    for side, curl in zip(SIDES, motion.curls, strict=True):
        rotations |= _fingers(side, curl)
    vertebra = (
        rotation((0, 0, 1), motion.turn / 3)
        @ rotation((1, 0, 0), motion.nod / 3)
        @ rotation((0, 1, 0), motion.tilt / 3)
    )
    return rotations | dict.fromkeys(("neck01", "neck02", "head"), vertebra)


def _fingers(side: str, curl: float) -> Rotations:
    """Fingers bent by about `curl` degrees per joint about the axis on which they close in the rest pose."""
    bend = rotation((0, 1, 0), SIDES[side] * curl)
    joints = [(finger, joint) for finger in range(2, 6) for joint in (1, 2, 3)] + [(1, 2), (1, 3)]
    return {f"finger{finger}-{joint}{side}": bend for finger, joint in joints}
