"""What the arms do, for every kind of motion: directions of upper arm and forearm, drawn with small variations.

A gesture looks at the body that it is made with and at the stance below it, so that hands reach hips, knees or the floor.
Source: own priors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imagpose.people.collision import BodyCapsules
from imagpose.people.kinematics import SIDES, BoneMotions, Rig, two_bone_directions, unit
from imagpose.people.stances import noise

_TORSO = "spine01"
Directions = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Performer:
    """What a gesture may look at: the bones, the trunk's measures, the motion so far and how far out to keep the arms."""

    rig: Rig
    body: BodyCapsules
    motion: BoneMotions
    spread: float

    def aim(self, side: str, upper: tuple[float, float, float], forearm: tuple[float, float, float]) -> Directions:
        """Directions in the torso's frame, given as (outwards, backwards, up)."""
        mirror = np.array([SIDES[side], 1.0, 1.0])
        return unit((np.array(upper) + (self.spread, 0, 0)) * mirror), unit(np.array(forearm) * mirror)

    def reach(self, side: str, goal: np.ndarray, pole: tuple[float, float, float]) -> Directions:
        """Directions that bring the wrist to a point of the torso's rest frame, the elbow towards (out, back, up)."""
        shoulder, elbow, wrist = (self.rig.head(bone + side) for bone in ("upperarm01", "lowerarm01", "wrist"))
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
        place: np.ndarray = turn @ self.rig.head(bone) + shift
        return place

    def on_trunk(self, level: str) -> np.ndarray:
        """Middle of a level of the trunk ("chest", "waist", "hips") in rest."""
        middle: np.ndarray = self.body.trunk[level][1].mean(0)
        return middle


Gesture = Callable[[Performer, np.random.Generator], dict[str, Directions]]


def _hanging(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    return performer.aim(
        side,
        (0.20 + abs(noise(rng, 0.05)), noise(rng, 0.07), -1.0),
        (0.10 + noise(rng, 0.05), -0.22 + noise(rng, 0.10), -1.0),
    )


def _one(gesture: Callable[[Performer, np.random.Generator, str], Directions]) -> Gesture:
    """One arm makes the gesture, the other hangs."""

    def pose(performer: Performer, rng: np.random.Generator) -> dict[str, Directions]:
        chosen = ".L" if rng.random() < 0.5 else ".R"
        return {side: (gesture if side == chosen else _hanging)(performer, rng, side) for side in SIDES}

    return pose


def _two(gesture: Callable[[Performer, np.random.Generator, str], Directions]) -> Gesture:
    """Both arms make the gesture."""
    return lambda performer, rng: {side: gesture(performer, rng, side) for side in SIDES}


def _swing(performer: Performer, rng: np.random.Generator) -> dict[str, Directions]:
    """Walking arms: each swings with the opposite leg."""
    arms = {}
    ahead = performer.world("foot.R")[1] - performer.world("foot.L")[1]
    for side, sign in SIDES.items():
        forwards = -sign * ahead * 0.55 + noise(rng, 0.05)
        arms[side] = performer.aim(
            side, (0.22, -forwards, -1.0), (0.08, -1.3 * forwards - 0.22 - abs(noise(rng, 0.08)), -1.0)
        )
    return arms


def _pump(performer: Performer, rng: np.random.Generator) -> dict[str, Directions]:
    """Running arms: bent at a right angle, each with the opposite leg."""
    left_knee = performer.world("lowerleg01.L")[1]
    right_knee = performer.world("lowerleg01.R")[1]
    arms = {}
    for side, sign in SIDES.items():
        forwards = 0.55 * sign * (1 if left_knee > right_knee else -1) + noise(rng, 0.08)
        arms[side] = performer.aim(
            side, (0.30, -forwards, -0.85), (-0.05, -0.95, 0.25 + 0.8 * forwards + noise(rng, 0.1))
        )
    return arms


def _on_hip(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    waist = 0.45 * performer.on_trunk("waist") + 0.55 * performer.on_trunk("hips")
    outwards = performer.body.half_width + 0.07 + 0.4 * performer.spread
    goal = waist + np.array([SIDES[side] * outwards, 0.0 + noise(rng, 0.02), 0.03 + noise(rng, 0.02)])
    return performer.reach(side, goal, (1.0, 0.45 + noise(rng, 0.15), -0.1))


def _in_pocket(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    outwards = performer.body.half_width + 0.03 + 0.3 * performer.spread
    goal = performer.on_trunk("hips") + np.array(
        [SIDES[side] * outwards, -0.03 + noise(rng, 0.02), 0.06 + noise(rng, 0.02)]
    )
    return performer.reach(side, goal, (0.8, 0.8, 0.0))


def _raised(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    return performer.aim(
        side, (0.55 + noise(rng, 0.25), -0.1 + noise(rng, 0.1), 1.0), (0.1 + noise(rng, 0.3), -0.15, 1.0)
    )


def _waving(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    return performer.aim(
        side, (1.0, -0.15 + noise(rng, 0.1), -0.1 + noise(rng, 0.25)), (0.30 + noise(rng, 0.2), -0.25, 1.0)
    )


def _out(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    return performer.aim(
        side,
        (1.0, noise(rng, 0.15), -0.35 + noise(rng, 0.3)),
        (0.9, -0.25 + noise(rng, 0.15), -0.2 + noise(rng, 0.35)),
    )


def _phoning(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    goal = performer.rig.head("head") + np.array([SIDES[side] * (0.15 + 0.3 * performer.spread), -0.13, -0.07])
    return performer.reach(side, goal + noise(rng, 0.01), (0.4, -0.1, -1.0))


def _at_chin(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    goal = performer.rig.head("head") + np.array([SIDES[side] * 0.05, -0.17 - 0.3 * performer.spread, -0.14])
    return performer.reach(side, goal + noise(rng, 0.01), (0.3, -0.1, -1.0))


def _held_out(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    return performer.aim(
        side, (0.28, -0.25 + noise(rng, 0.2), -1.0), (0.12 + noise(rng, 0.15), -1.0, 0.05 + noise(rng, 0.25))
    )


def _clasp(performer: Performer, rng: np.random.Generator) -> dict[str, Directions]:
    """Hands together in front of the belly, one over the other."""
    level = performer.on_trunk("waist") if rng.random() < 0.5 else performer.on_trunk("hips") + (0, 0, 0.05)
    lower = 1 if rng.random() < 0.5 else -1
    arms = {}
    for side, sign in SIDES.items():
        ahead = performer.body.half_depth + 0.085 + performer.spread
        height = 0.03 * lower * sign
        arms[side] = performer.reach(side, level + np.array([sign * 0.085, -ahead, height]), (1.0, 0.5, -0.4))
    return arms


def _crossed(performer: Performer, rng: np.random.Generator) -> dict[str, Directions]:
    """Forearms crossed before the chest, one above and in front of the other."""
    upper = 1 if rng.random() < 0.5 else -1
    chest = 0.65 * performer.on_trunk("chest") + 0.35 * performer.on_trunk("waist")
    arms = {}
    for side, sign in SIDES.items():
        over = upper * sign
        ahead = performer.body.half_depth + 0.085 + 0.025 * over + 0.6 * performer.spread
        arms[side] = performer.reach(side, chest + np.array([-sign * 0.055, -ahead, 0.045 * over]), (1.0, -0.15, -0.8))
    return arms


def _behind(performer: Performer, rng: np.random.Generator) -> dict[str, Directions]:
    """Hands together behind the back."""
    lower = 1 if rng.random() < 0.5 else -1
    arms = {}
    for side, sign in SIDES.items():
        goal = performer.on_trunk("hips") + np.array(
            [sign * 0.10, performer.body.half_depth + 0.075 + 0.5 * performer.spread, 0.06 + 0.02 * lower * sign]
        )
        arms[side] = performer.reach(side, goal, (1.0, 0.6, 0.0))
    return arms


def _on_knees(performer: Performer, rng: np.random.Generator) -> dict[str, Directions]:
    """Each hand on its own thigh, near the knee."""
    arms = {}
    share = rng.uniform(0.62, 0.9)
    for side in SIDES:
        hip, knee = performer.world("upperleg01" + side), performer.world("lowerleg01" + side)
        shin = unit(performer.world("foot" + side) - knee)
        thigh = unit(knee - hip)
        above = -unit(shin - (shin @ thigh) * thigh)
        goal = hip + share * (knee - hip) + (0.115 + 0.2 * performer.spread) * above
        arms[side] = performer.reach_world(side, goal, (0.7, 0.4, -0.6))
    return arms


def _forearm_on_knee(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    """The hand before the knee, as one crouches to look at something."""
    knee = performer.world("lowerleg01" + side)
    goal = knee + np.array([-SIDES[side] * 0.02, -0.10 - 0.3 * performer.spread, 0.10 + noise(rng, 0.02)])
    return performer.reach_world(side, goal, (0.8, 0.2, -0.4))


def _propped(performer: Performer, rng: np.random.Generator, side: str) -> Directions:
    """Fingertips on the floor behind a person who sits on it: the wrist is a hand's length above."""
    above_floor = min(performer.world("foot" + other)[2] for other in SIDES) + 0.07
    hip = performer.world("upperleg01" + side)
    aside = SIDES[side] * (0.14 + performer.spread)
    goal = np.array([hip[0] + aside, hip[1] + 0.28 + noise(rng, 0.03), above_floor])
    return performer.reach_world(side, goal, (0.5, 1.0, 0.0))


GESTURES: dict[str, Gesture] = {
    "hang": _two(_hanging),
    "swing": _swing,
    "pump": _pump,
    "two_on_hip": _two(_on_hip),
    "one_on_hip": _one(_on_hip),
    "one_in_pocket": _one(_in_pocket),
    "two_in_pocket": _two(_in_pocket),
    "clasp": _clasp,
    "crossed": _crossed,
    "behind": _behind,
    "two_raised": _two(_raised),
    "one_waving": _one(_waving),
    "two_out": _two(_out),
    "one_phoning": _one(_phoning),
    "one_at_chin": _one(_at_chin),
    "one_held_out": _one(_held_out),
    "on_knees": _on_knees,
    "propped": _two(_propped),
    "forearms_on_knees": _two(_forearm_on_knee),
}
