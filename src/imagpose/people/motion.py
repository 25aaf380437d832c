"""Motions drawn from hand-written priors: a stance for the lower body, a gesture for the arms, head and fingers, noise.

A motion is drawn without a body and then solved for one: legs and reaching arms by inverse kinematics. Where a limb
would pass through that body, the feet are set wider apart and the arms held further out. Source: own priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from imagpose.people.collision import BodyCapsules, leg_penetration, penetration
from imagpose.people.gestures import GESTURES, Performer
from imagpose.people.kinematics import SIDES, Rig, Rotations, arm_rotations, rotation
from imagpose.people.stances import STANCES, Stance, noise, stance_rotations

MAX_PENETRATION = 0.01
_ATTEMPTS = 12
_WIDER = 0.012  # of the leg, per attempt


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
class _Kind:
    """A stance of `STANCES`, a gesture of `GESTURES` and how often the pair is drawn."""

    stance: str
    gesture: str
    weight: float


KINDS: dict[str, _Kind] = {
    "stand": _Kind("stand", "hang", 2.0),
    "contrapposto": _Kind("contrapposto", "hang", 1.6),
    "walk": _Kind("walk", "swing", 2.4),
    "run": _Kind("run", "pump", 0.6),
    "lunge": _Kind("lunge", "two_on_hip", 0.3),
    "hips": _Kind("stand", "two_on_hip", 1.0),
    "one_hip": _Kind("contrapposto", "one_on_hip", 1.2),
    "pocket": _Kind("contrapposto", "one_in_pocket", 0.6),
    "pockets": _Kind("stand", "two_in_pocket", 0.6),
    "clasp": _Kind("stand", "clasp", 0.8),
    "crossed": _Kind("contrapposto", "crossed", 0.6),
    "behind": _Kind("stand", "behind", 0.5),
    "raise": _Kind("stand", "two_raised", 0.6),
    "wave": _Kind("stand", "one_waving", 0.8),
    "out": _Kind("stand", "two_out", 0.5),
    "phone": _Kind("contrapposto", "one_phoning", 0.6),
    "chin": _Kind("contrapposto", "one_at_chin", 0.4),
    "hold": _Kind("stand", "one_held_out", 0.5),
    "sit": _Kind("sit", "on_knees", 0.7),
    "sit_on_floor": _Kind("sit_on_floor", "propped", 0.3),
    "crouch": _Kind("crouch", "forearms_on_knees", 0.5),
    "kneel": _Kind("kneel", "on_knees", 0.4),
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
        nod=noise(rng, 5) - 0.55 * (stance.lean + stance.spine[0]) + (6 if kind in ("phone", "chin") else 0),
        turn=float(np.clip(noise(rng, 14) - 0.5 * stance.spine[2], -40, 40)),
        tilt=noise(rng, 3),
        curls=(12 + noise(rng, 5), 12 + noise(rng, 5)),
    )


def solve_motion(motion: Motion, rig: Rig, body: BodyCapsules) -> Posture:
    """The motion on one body.

    Returns:
        The first of a dozen attempts with a penetration below `MAX_PENETRATION`, each with the arms held a little further
        out; else the one that penetrates least. If the legs pass through each other, the feet are first set wider.
    """
    stance = motion.stance
    for _ in range(_ATTEMPTS):
        below = stance_rotations(rig, stance)
        if leg_penetration(rig, body, below) < MAX_PENETRATION:
            break
        feet = {side: replace(foot, aside=foot.aside + _WIDER) for side, foot in stance.feet.items()}
        stance = replace(stance, feet=feet)
    best: Posture | None = None
    placed = rig.forward(below)
    for attempt in range(_ATTEMPTS):
        rotations = below | _upper_body(motion, Performer(rig, body, placed, 0.02 * attempt))
        depth = penetration(rig, body, rotations)
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


def _upper_body(motion: Motion, performer: Performer) -> Rotations:
    rotations: Rotations = {}
    rng = np.random.default_rng(motion.gesture_seed)
    for side, (upper, forearm) in GESTURES[KINDS[motion.kind].gesture](performer, rng).items():
        rotations |= arm_rotations(performer.rig, side, upper, forearm)
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
