"""Does a limb pass through the body? Bodies are replaced by capsules (segments with a radius) for this question.

Source: own; closest points of two segments after Ericson, "Real-Time Collision Detection", section 5.1.9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagpose.people.kinematics import SIDES, BoneMotions, Rig, Rotations

# Radii in metres of the template; the trunk is measured on each identity, limbs are scaled by its girths.
_RADII = {"head": 0.085, "upper_arm": 0.045, "forearm": 0.036, "hand": 0.022, "thigh": 0.075, "shin": 0.05}
_TRUNK_LEVELS = {"chest": ("spine02", 0.27), "waist": ("spine04", 0.62), "hips": ("root", 0.97)}
_NECK, _SHOULDERS, _HIPS = 1, (2, 5), (8, 11)


@dataclass(frozen=True)
class BodyCapsules:
    """The measures of a body.

    Attributes:
        trunk: per level the bone it hangs on, its two rest ends (2, 3) and its radius in metres.
        girths: thickness of the limbs relative to the template's (`proportions.limb_girths`).
    """

    trunk: dict[str, tuple[str, np.ndarray, float]]
    girths: dict[str, float]

    @property
    def half_width(self) -> float:
        """Half the width of the hips, metres."""
        _, ends, radius = self.trunk["hips"]
        return float(ends[0, 0] - ends[1, 0]) / 2 + radius

    @property
    def half_depth(self) -> float:
        """Half the depth of the chest, metres."""
        return self.trunk["chest"][2]


def measure_capsules(vertices: np.ndarray, keypoints: np.ndarray, girths: dict[str, float]) -> BodyCapsules:
    """Measure the trunk at three heights.

    Args:
        vertices: (n, 3) the dressed body in its rest pose, metres.
        keypoints: (18, 3) its key points. Both in the axes in which the rig's bones lie.
        girths: thickness of its limbs, see `BodyCapsules`.
    """
    neck, hips = keypoints[_NECK], keypoints[list(_HIPS)].mean(0)
    reach = 0.9 * abs(keypoints[list(_SHOULDERS), 0]).mean()  # within the shoulders: the arms hang further out
    trunk = {}
    for level, (bone, share) in _TRUNK_LEVELS.items():
        centre = (1 - share) * neck + share * hips
        near = vertices[(abs(vertices[:, 2] - centre[2]) < 0.03) & (abs(vertices[:, 0]) < reach)]
        half_width, half_depth = np.percentile(abs(near[:, 0]), 97), np.ptp(near[:, 1]) / 2
        middle_y = (near[:, 1].max() + near[:, 1].min()) / 2
        radius = float(min(half_depth, half_width))
        side = max(float(half_width) - radius, 0.01)
        ends = np.array([[side, middle_y, centre[2]], [-side, middle_y, centre[2]]])
        trunk[level] = (bone, ends, radius)
    return BodyCapsules(trunk, girths)


def segment_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Smallest distance (n,) between pairs of segments, each (n, 2, 3) by its two ends."""
    along_first, along_second = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0]
    offset = first[:, 0] - second[:, 0]
    a, e = (along_first**2).sum(1), (along_second**2).sum(1)
    b, c = (along_first * along_second).sum(1), (along_first * offset).sum(1)
    f = (along_second * offset).sum(1)
    tiny = 1e-12
    a, e = np.maximum(a, tiny), np.maximum(e, tiny)
    denominator = a * e - b * b
    s = np.where(denominator > tiny, np.clip((b * f - c * e) / np.maximum(denominator, tiny), 0, 1), 0.0)
    t = np.clip((b * s + f) / e, 0, 1)
    s = np.clip((b * t - c) / a, 0, 1)
    gap = offset + along_first * s[:, None] - along_second * t[:, None]
    distances: np.ndarray = np.sqrt((gap**2).sum(1))
    return distances


# Row of each posed capsule; the limbs of the left and of the right side are neighbours.
_LIMBS = ("upper_arm", "forearm", "hand", "thigh", "shin")
_CAPSULES = (*_TRUNK_LEVELS, "head", *(limb + side for limb in _LIMBS for side in SIDES))
_HEAD_AXIS = np.array([[0, -0.01, 0.06], [0, 0.0, 0.13]])


def _capsules(rig: Rig, body: BodyCapsules, motion: BoneMotions) -> np.ndarray:
    """Ends of the posed capsules, (len(_CAPSULES), 2, 3)."""

    def place(bone: str, point: np.ndarray) -> np.ndarray:
        turn, shift = motion[bone]
        placed: np.ndarray = point @ turn.T + shift
        return placed

    def joints(bone: str) -> np.ndarray:
        """Where a bone of each side begins, (2, 3)."""
        return np.array([place(bone + side, rig.head(bone + side)) for side in SIDES])

    shoulder, elbow, wrist = joints("upperarm01"), joints("lowerarm01"), joints("wrist")
    knuckle, hip, knee, ankle = joints("finger3-1"), joints("upperleg01"), joints("lowerleg01"), joints("foot")
    limbs = (
        # Near its root a limb always touches the part that it grows from, so each segment starts further out.
        (0.45 * shoulder + 0.55 * elbow, elbow),
        (elbow, wrist),
        (wrist, wrist + 1.7 * (knuckle - wrist)),
        (0.5 * hip + 0.5 * knee, knee),
        (knee, ankle),
    )
    trunk = [place(bone, ends) for bone, ends, _ in body.trunk.values()]
    trunk.append(place("head", rig.head("head") + _HEAD_AXIS))
    return np.concatenate([np.array(trunk), np.array(limbs).transpose(0, 2, 1, 3).reshape(-1, 2, 3)])


def _radii(body: BodyCapsules) -> np.ndarray:
    """Radii of the capsules, (len(_CAPSULES),) metres."""
    trunk = [radius for _, _, radius in body.trunk.values()]
    limbs = [_RADII[limb] * body.girths.get(limb, 1.0) for limb in _LIMBS for _ in SIDES]
    return np.array([*trunk, _RADII["head"], *limbs])


def _pairs() -> list[tuple[str, str, float]]:
    """Pairs of capsules that must stay apart, and how far (metres) flesh and cloth may give way between them."""
    pairs = []
    for side, other in ((".L", ".R"), (".R", ".L")):
        for part, give in (("upper_arm", 0.045), ("forearm", 0.025), ("hand", 0.02)):
            pairs += [(part + side, trunk, give) for trunk in ("chest", "waist", "hips", "head")]
        for part in ("forearm", "hand"):
            pairs += [(part + side, leg + which, 0.02) for leg in ("thigh", "shin") for which in (side, other)]
            pairs.append((part + side, "upper_arm" + other, 0.02))
        pairs.append(("hand" + side, "forearm" + other, 0.015))
        pairs.append(("shin" + side, "thigh" + other, 0.02))
    pairs += [
        ("hand.L", "hand.R", 0.015),
        ("forearm.L", "forearm.R", 0.015),
        ("thigh.L", "thigh.R", 0.03),
        ("shin.L", "shin.R", 0.01),
    ]
    return pairs


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Rows of the first and second capsule of each pair, and what may give way between them, arrays (n,)."""

    first: np.ndarray
    second: np.ndarray
    give: np.ndarray


def _as_rows(pairs: list[tuple[str, str, float]]) -> _Pairs:
    first, second = (np.array([_CAPSULES.index(pair[end]) for pair in pairs]) for end in (0, 1))
    return _Pairs(first, second, np.array([give for _, _, give in pairs]))


_PAIRS = _as_rows(_pairs())
_LEG_PAIRS = _as_rows([p for p in _pairs() if all(name.startswith(("thigh", "shin")) for name in p[:2])])


def penetration(rig: Rig, body: BodyCapsules, rotations: Rotations) -> float:
    """How deep, in metres, the worst pair of limbs and body intersects; <= 0 where none does."""
    return _deepest(rig, body, rotations, _PAIRS)


def leg_penetration(rig: Rig, body: BodyCapsules, rotations: Rotations) -> float:
    """As `penetration`, for the legs alone."""
    return _deepest(rig, body, rotations, _LEG_PAIRS)


def _deepest(rig: Rig, body: BodyCapsules, rotations: Rotations, pairs: _Pairs) -> float:
    ends, radii = _capsules(rig, body, rig.forward(rotations)), _radii(body)
    wanted = radii[pairs.first] + radii[pairs.second] - pairs.give
    return float((wanted - segment_distances(ends[pairs.first], ends[pairs.second])).max())
