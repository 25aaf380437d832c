"""How a person stands: feet on the floor, pelvis and spine. Each stance is a few numbers; inverse kinematics does the rest.

Lengths are in units of the leg (hip to ankle, about 0.85 m) unless said otherwise, angles in degrees. Source: own
priors; heel and toe contact of the walk as described in any gait textbook.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imagpose.people.kinematics import SIDES, Rig, Rotations, leg_rotations, rotation

_HEEL_BEHIND_ANKLE = 0.05
_SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")


@dataclass(frozen=True)
class Foot:
    """Where one foot is: `forward` and `aside` of its hip, `pitch` > 0 with the heel raised, < 0 with the toes raised."""

    forward: float = 0.0
    aside: float = 0.0
    lift: float = 0.0
    pitch: float = 0.0
    toe_out: float = 8.0
    pole_up: float = 0.3


@dataclass(frozen=True)
class Stance:
    """Both feet, the hips' height (None: as high as the legs reach), and how pelvis and spine lean, roll and twist.

    `lean` > 0 is forwards, `roll` > 0 lowers the left side, `twist` > 0 turns to the person's left.
    """

    feet: dict[str, Foot]
    height: float | None = None
    stretch: float = 0.992
    lean: float = 0.0
    roll: float = 0.0
    twist: float = 0.0
    spine: tuple[float, float, float] = (2.0, 0.0, 0.0)


def noise(rng: np.random.Generator, scale: float) -> float:
    """A normal deviate of a standard deviation, at most two of them from 0."""
    return float(np.clip(rng.normal(), -2, 2) * scale)


def _both(rng: np.random.Generator, front: Foot, back: Foot) -> dict[str, Foot]:
    """`front` on a random side, `back` on the other."""
    return {".L": front, ".R": back} if rng.random() < 0.5 else {".R": front, ".L": back}


def _stand(rng: np.random.Generator) -> Stance:
    width, stagger = 0.01 + abs(noise(rng, 0.04)), noise(rng, 0.03)
    feet = {side: Foot(forward=sign * stagger, aside=width, toe_out=9 + noise(rng, 5)) for side, sign in SIDES.items()}
    return Stance(feet, stretch=0.985 + rng.uniform(0, 0.012), twist=noise(rng, 3),
                  spine=(2 + noise(rng, 2), noise(rng, 2), noise(rng, 4)))  # fmt: skip


def _contrapposto(rng: np.random.Generator) -> Stance:
    """Weight on one leg: its hip is higher and stands over its foot, the other knee is bent."""
    feet = _both(
        rng,
        Foot(forward=0.06 + abs(noise(rng, 0.05)), aside=0.05 + noise(rng, 0.03), toe_out=22 + noise(rng, 8)),
        Foot(forward=-0.01, aside=-0.06 + noise(rng, 0.015), toe_out=6 + noise(rng, 4)),
    )
    drop = rng.uniform(2.5, 6.0) * (1 if feet[".L"].forward > 0 else -1)
    return Stance(feet, stretch=0.996, roll=drop, spine=(2 + noise(rng, 2), -1.7 * drop, noise(rng, 6)))


def _walk(rng: np.random.Generator) -> Stance:
    if rng.random() < 0.7:  # both feet down: the heel strikes in front, the toes push off behind
        step = rng.uniform(0.16, 0.33)
        front, back = Foot(step, -0.05, pitch=-45 * step, toe_out=6), Foot(-step, -0.05, pitch=110 * step, toe_out=6)
        stretch = 0.99
    else:  # one leg swings past the other
        swing = rng.uniform(-0.25, 0.1)
        front, back = (
            Foot(swing, -0.05, lift=0.09 - 0.1 * swing, pitch=25 - 110 * swing, toe_out=4),
            Foot(0.02, -0.06, toe_out=6),
        )
        stretch = 0.985
    feet = _both(rng, front, back)
    ahead = 1 if feet[".L"].forward > feet[".R"].forward else -1
    turn = -18 * abs(front.forward - back.forward) * ahead  # the hip goes with its leg, the shoulders against it
    return Stance(feet, stretch=stretch, lean=rng.uniform(0, 4), twist=turn, spine=(3, 0, -1.8 * turn))


def _run(rng: np.random.Generator) -> Stance:
    knee = Foot(rng.uniform(0.1, 0.3), -0.05, lift=rng.uniform(0.25, 0.45), pitch=rng.uniform(5, 35), toe_out=2)
    push = Foot(rng.uniform(-0.38, -0.2), -0.06, pitch=rng.uniform(30, 45), toe_out=3)
    feet = _both(rng, knee, push)
    turn = -10.0 if feet[".L"] is knee else 10.0
    return Stance(feet, stretch=0.97, lean=rng.uniform(6, 14), twist=turn, spine=(4, 0, -1.8 * turn))


def _lunge(rng: np.random.Generator) -> Stance:
    step = rng.uniform(0.32, 0.45)
    feet = _both(rng, Foot(step, -0.02, toe_out=4), Foot(-step, -0.02, pitch=rng.uniform(35, 55), toe_out=4))
    return Stance(feet, stretch=rng.uniform(0.9, 0.97), lean=noise(rng, 3), spine=(3, 0, noise(rng, 8)))


def _crouch(rng: np.random.Generator) -> Stance:
    feet = {
        side: Foot(0.2 + noise(rng, 0.03), 0.05 + abs(noise(rng, 0.05)), toe_out=18 + noise(rng, 6), pole_up=0.5)
        for side in SIDES
    }
    height = rng.uniform(0.40, 0.62)
    lean = 62 - 60 * height + noise(rng, 4)  # the deeper, the further forward: the weight stays over the feet
    return Stance(feet, height=height, lean=lean, spine=(6 + noise(rng, 4), 0, noise(rng, 5)))


def _sit(rng: np.random.Generator) -> Stance:
    """On a stool as high as the knees."""
    feet = {
        side: Foot(0.50 + noise(rng, 0.05), 0.05 + abs(noise(rng, 0.05)), toe_out=8 + noise(rng, 6), pole_up=0.9)
        for side in SIDES
    }
    return Stance(feet, height=0.62 + noise(rng, 0.02), lean=noise(rng, 5), spine=(4 + noise(rng, 4), 0, noise(rng, 6)))


def _sit_on_floor(rng: np.random.Generator) -> Stance:
    out = rng.uniform(0.50, 0.82)
    feet = {side: Foot(out + noise(rng, 0.06), 0.03 + abs(noise(rng, 0.04)), toe_out=10, pole_up=2.0) for side in SIDES}
    return Stance(feet, height=0.10, lean=-rng.uniform(4, 16), spine=(8, 0, noise(rng, 4)))


def _kneel(rng: np.random.Generator) -> Stance:
    """One knee on the floor, the other foot in front."""
    front = Foot(0.46 + noise(rng, 0.03), 0.0, toe_out=6, pole_up=0.9)
    back = Foot(-0.42, -0.02, pitch=70 + noise(rng, 8), toe_out=0, pole_up=-0.4)
    return Stance(_both(rng, front, back), height=0.585, lean=noise(rng, 4), spine=(4, 0, noise(rng, 5)))


STANCES: dict[str, Callable[[np.random.Generator], Stance]] = {
    "stand": _stand,
    "contrapposto": _contrapposto,
    "walk": _walk,
    "run": _run,
    "lunge": _lunge,
    "crouch": _crouch,
    "sit": _sit,
    "sit_on_floor": _sit_on_floor,
    "kneel": _kneel,
}


@dataclass(frozen=True)
class _Leg:
    """One leg's end points relative to the middle of the hips projected on the floor, metres."""

    hip: np.ndarray
    ankle: np.ndarray
    foot_turn: np.ndarray
    pole: np.ndarray


def _leg(rig: Rig, side: str, foot: Foot, hip: np.ndarray, leg_length: float) -> _Leg:
    sign = SIDES[side]
    turn = rotation((0, 0, 1), sign * foot.toe_out)
    foot_turn = turn @ rotation((1, 0, 0), foot.pitch)
    rest_ankle = rig.head("foot" + side)
    ball = rig.head("toe2-1" + side)[:2] if foot.pitch >= 0 else rest_ankle[:2] + (0, _HEEL_BEHIND_ANKLE)
    contact_in_foot = np.array([*ball, rig.sole]) - rest_ankle
    contact = turn @ (contact_in_foot * (1, 1, 0)) + (
        sign * (abs(hip[0]) + foot.aside * leg_length),
        -foot.forward * leg_length,
        foot.lift * leg_length,
    )
    pole = turn @ np.array([0.0, -1.0, foot.pole_up])
    return _Leg(hip, contact - foot_turn @ contact_in_foot, foot_turn, pole)


def stance_rotations(rig: Rig, stance: Stance) -> Rotations:
    """Rotations of pelvis, spine, legs, feet and toes that put both feet where the stance wants them."""
    root_turn = rotation((0, 0, 1), stance.twist) @ rotation((1, 0, 0), stance.lean) @ rotation((0, 1, 0), stance.roll)
    rest_hips = {side: rig.head("upperleg01" + side) for side in SIDES}
    middle = (rest_hips[".L"] + rest_hips[".R"]) / 2
    leg_length = float(
        np.linalg.norm(rig.head("lowerleg01.L") - rest_hips[".L"])
        + np.linalg.norm(rig.head("foot.L") - rig.head("lowerleg01.L"))
    )
    legs = {
        side: _leg(rig, side, foot, root_turn @ (rest_hips[side] - middle), leg_length)
        for side, foot in stance.feet.items()
    }
    if stance.height is None:
        height = min(_highest(leg, stance.stretch * leg_length) for leg in legs.values())
    else:
        height = stance.height * leg_length

    rotations: Rotations = {"root": root_turn}
    for side, leg in legs.items():
        hip = leg.hip + (0, 0, height)
        rotations |= leg_rotations(rig, side, root_turn, hip, leg.ankle, leg.pole, leg.foot_turn)
        pitch = stance.feet[side].pitch
        if pitch > 0 and stance.feet[side].lift == 0:  # toes stay flat on the floor while the heel rises
            toes = rotation((1, 0, 0), -0.8 * min(pitch, 50.0))
            rotations |= {f"toe{toe}-1{side}": toes for toe in range(1, 6)}
    bend, side_bend, twist = (angle / len(_SPINE) for angle in stance.spine)
    vertebra = rotation((1, 0, 0), bend) @ rotation((0, 1, 0), side_bend) @ rotation((0, 0, 1), twist)
    return rotations | dict.fromkeys(_SPINE, vertebra)


def _highest(leg: _Leg, reach: float) -> float:
    """Height of the middle of the hips at which the leg just reaches its ankle."""
    gap = leg.ankle - leg.hip
    return float(gap[2] + math.sqrt(max(reach**2 - gap[0] ** 2 - gap[1] ** 2, 0.01)))
