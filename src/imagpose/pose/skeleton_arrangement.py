"""Sticks and discs of a drawing given to limbs and joints: which end of a stick is which joint, for one palette.

Own method. An end belongs where a disc of the joint's hue lies, or where the neighbouring sticks end. How well all of them
join up tells the palette as it is from the one with R and B exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagpose.pose.keypoints import LIMBS
from imagpose.pose.skeleton_evidence import HUES, Disc, Evidence, Stick

TRACE = 3.0  # radii: shorter sticks may be the edge of something else
_EXCHANGED = 12  # R and B exchanged maps hue class k to 12 - k
_TRACE_AREA = 0.2  # of a disc: less of a limb's hue is the edge of something else
_FAR = 6.0  # radii: an end has no disc


@dataclass
class Reading:
    """Sticks and discs under one order of the colours, and which end of a stick is which joint."""

    sticks: dict[int, Stick]
    discs: dict[int, list[Disc]]
    radius: float
    flipped: dict[int, bool]
    hues: dict[int, int]
    joined: float = 0.0
    twice: int = 0

    def end(self, limb: int, joint: int) -> np.ndarray:
        """The place where a limb ends at a joint."""
        is_second = LIMBS[limb].index(joint) == 1
        place: np.ndarray = self.sticks[limb].ends[int(is_second != self.flipped[limb])]
        return place

    def outward(self, limb: int, joint: int) -> np.ndarray:
        """Direction of a limb at a joint, away from its other end."""
        along = self.end(limb, joint) - self.end(limb, sum(LIMBS[limb]) - joint)
        unit: np.ndarray = along / max(float(np.hypot(*along)), 1e-6)
        return unit


def arranged(evidence: Evidence, exchanged: bool) -> Reading:
    """The evidence by limb and joint, each stick turned so that its ends lie at the right joints."""

    def hue(index: int) -> int:
        return (_EXCHANGED - index) % HUES if exchanged else index

    choices = {limb: evidence.sticks[hue(limb)] for limb in range(len(LIMBS)) if hue(limb) in evidence.sticks}
    discs = {joint: evidence.discs.get(hue(joint), []) for joint in range(HUES)}
    sticks = {limb: found[0] for limb, found in choices.items()}
    hues = {index: hue(index) for index in range(HUES)}
    reading = Reading(sticks, discs, evidence.radius, dict.fromkeys(sticks, False), hues)
    limit = 2 * _FAR * evidence.radius
    for _ in range(4):
        for limb, found in choices.items():
            costs = [
                (_misfit(reading, limb, stick, flipped) - 0.3 * limit * stick.area / found[0].area, number, flipped)
                for number, stick in enumerate(found)
                for flipped in (False, True)
            ]
            _, number, reading.flipped[limb] = min(costs)
            reading.sticks[limb] = found[number]
    fits = [_misfit(reading, limb, stick, reading.flipped[limb]) for limb, stick in sticks.items()]
    weights = [stick.length for stick in sticks.values()]
    reading.joined = float(1 - np.average(fits, weights=weights) / limit) if fits else 0.0
    reading.twice = sum(_is_twice(reading, limb, found) for limb, found in choices.items())
    large = {limb: stick for limb, stick in sticks.items() if stick.area >= _TRACE_AREA * np.pi * evidence.radius**2}
    reading.sticks = {limb: stick for limb, stick in large.items() if _ends_at_discs(reading, limb, stick)}
    reading.sticks |= {
        limb: stick
        for limb, stick in large.items()
        if limb not in reading.sticks
        and stick.length >= TRACE * reading.radius
        and _ends_at_sticks(reading, limb, stick)
    }
    return reading


def _ends_at_discs(reading: Reading, limb: int, stick: Stick) -> bool:
    """Whether at least one end of a stick lies at a disc of its joint; what lies at none is a trace of something else."""
    return any(
        np.hypot(*(disc.place - end)) <= 3 * reading.radius + 3
        for joint in LIMBS[limb]
        for disc in reading.discs[joint]
        for end in stick.ends
    )


def _ends_at_sticks(reading: Reading, limb: int, stick: Stick) -> bool:
    """Whether a stick meets one that is sure at their joint, where the disc is covered."""
    ends = stick.ends[:: -1 if reading.flipped[limb] else 1]
    return any(
        np.hypot(*(end - reading.end(other, joint))) <= 3 * reading.radius + 3
        for joint, end in zip(LIMBS[limb], ends, strict=True)
        for other in reading.sticks
        if joint in LIMBS[other]
    )


def _is_twice(reading: Reading, limb: int, found: list[Stick]) -> bool:
    """Whether a second stick, far from the chosen one, is as large and has its discs too."""
    chosen = reading.sticks[limb]
    for stick in found:
        apart = min(float(np.hypot(*(one - other))) for one in stick.ends for other in chosen.ends)
        is_large = stick.area > 0.5 * chosen.area and stick.length > 0.5 * chosen.length
        if apart > 8 * reading.radius and is_large and _ends_at_discs(reading, limb, stick):
            return True
    return False


def _misfit(reading: Reading, limb: int, stick: Stick, flipped: bool) -> float:
    """How far the ends of a stick lie from the discs and from the other sticks of their joints, in pixels, limited."""
    total = 0.0
    for joint, place in zip(LIMBS[limb], stick.ends[:: -1 if flipped else 1], strict=True):
        near = [float(np.hypot(*(disc.place - place))) for disc in reading.discs[joint]]
        others = [
            float(np.hypot(*(reading.end(other, joint) - place)))
            for other in reading.sticks
            if other != limb and joint in LIMBS[other]
        ]
        limit = _FAR * reading.radius
        total += min([*near, 0.35 * limit + 0.65 * min(others, default=limit), limit])
        total += 0.02 * min([*near, *others], default=0.0)  # between ends that are all far
    return total
