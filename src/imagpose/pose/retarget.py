"""A pose of somebody else, fitted to a person's body: own lengths of limbs, shoulders, hips and head.

The person's body is known from poses in one or several pictures, the other person's from the pose itself. A picture
foreshortens, hides and cuts off, so lengths are not copied but estimated, by a small network trained on rendered people who
make the same motion before the same camera (`tools/retargeting_train.py`). Places are brought to mean 0 and mean square 1
over the points that are found: neither place nor size of anybody in a picture matters. Then

1. a view of a person gives an opinion e_i on the body and its weight a_i. The mean sum(a_i e_i) / sum(a_i) is too near to
   the usual body where views are many, since each opinion is as cautious as one view must be; a few layers correct it by
   A / (1 + A), A = sum(a_i). The body's first numbers are the logarithms of the lengths l_b of the bones in space. The
   other person's body is read off the pose;
2. each bone b of the pose x gets a factor 1 + r_b, r_b = log l_b(own) - log l_b(other) + a small change, and each joint j a
   small move d_j: y_j = x_j + sum over the bones b between neck and j of r_b (x_second(b) - x_first(b)) + d_j.

Bones keep their directions in the picture but for d, however unusual the pose is. Source: own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from imagpose.pose.keypoints import KEYPOINT_NAMES, LIMBS, Pose

RETARGETING_WEIGHTS = Path(__file__).parent / "weights" / "retargeting.safetensors"
PLACES = ("pose", "source")
LEAST_POINTS = 5
_MIDDLE = [KEYPOINT_NAMES.index(name) for name in ("neck", "right_hip", "left_hip")]
_ANKLES = [KEYPOINT_NAMES.index(name) for name in ("right_ankle", "left_ankle")]
_NECK, _WRISTS = KEYPOINT_NAMES.index("neck"), [KEYPOINT_NAMES.index(f"{side}_wrist") for side in ("left", "right")]
_FIRST, _SECOND = [limb[0] for limb in LIMBS], [limb[1] for limb in LIMBS]
_ONE, _OTHER = (ends.tolist() for ends in np.triu_indices(len(KEYPOINT_NAMES), 1))
_LEAST_WEIGHT, _NEAR = 0.02, 1e-3
_MOST_SEEN = 64  # frames from which a sequence's body is estimated
LENGTH = 0.1
"""A body's numbers are deviations of logarithms in units of this, so that they are about 1."""
_USUAL = 0.03  # of a factor or a move: the last layer learns numbers about 1

Array = Any  # NumPy's or PyTorch's: the same lines train and serve
Bodies = list[tuple[Array, Array]]  # the other person's and the own, as seen in the pictures and in their mirror images


def retarget(pose: Pose, sources: Sequence[Pose], *, place: str = "pose") -> Pose:
    """The pose as the person of the sources would take it.

    Args:
        pose: of somebody else, at least 5 points in different places. In parts of a body only these parts are fitted.
        sources: poses of the person, each in the frame of its own picture, at least one with 5 such points.
        place: "pose": the person stands where the other one does and is as tall in the picture. "source": where and as
            tall as in the first picture with such a pose, which is fitted into the frame of `pose`.

    Returns:
        The pose in the same frame: missing points stay missing, confidences stay. The lower ankle stays on its height in
        the picture, and the trunk above the same place; without ankles, the neck stays.

    Raises:
        ValueError: too few points, no source, or another place.
    """
    if not can_be_fitted(pose):
        raise ValueError(f"the pose has {_num_points(pose)} points; {LEAST_POINTS} are needed to fit it")
    return retarget_sequence([pose], sources, place=place)[0]


def retarget_sequence(poses: Sequence[Pose], sources: Sequence[Pose], *, place: str = PLACES[0]) -> list[Pose]:
    """The poses of somebody else in the frames of a film, as the person of the sources would take them.

    Both bodies are estimated once: the other person's from up to 64 frames together. So limbs do not breathe, and with
    `place` "source" everything is scaled by one number and moved by one step, those that bring the first frame there.

    Args:
        poses: in frames of one size. Those with fewer than 5 points in different places stay as they are.
        sources, place: as of `retarget`.

    Raises:
        ValueError: no source with enough points, no such pose, or another place.
    """
    if place not in PLACES:
        raise ValueError(f"place is {place!r}; it must be one of {', '.join(PLACES)}")
    usable = [source for source in sources if can_be_fitted(source)]
    if not usable:
        most = max(map(_num_points, sources), default=0)
        raise ValueError(f"a pose of the person with {LEAST_POINTS} points is needed; there are {most}")
    whole = [pose for pose in poses if can_be_fitted(pose)]
    if not whole:
        raise ValueError(f"no pose of the sequence has {LEAST_POINTS} points, which are needed to fit it")
    seen = [whole[index] for index in np.unique(np.linspace(0, len(whole) - 1, _MOST_SEEN).round().astype(int))]
    bodies = _bodies(seen, usable)
    scale, shift = (1.0, np.zeros(2)) if place == "pose" else _to_source(whole[0], seen, usable[0], bodies)
    return [_retargeted(pose, bodies, scale, shift) if can_be_fitted(pose) else pose for pose in poses]


def _bodies(others: Sequence[Pose], sources: Sequence[Pose]) -> Bodies:
    weights = _weights()
    found = []
    for mirror in (False, True):
        both = ([(pose.mirror() if mirror else pose).keypoints for pose in group] for group in (others, sources))
        other, own = (pooled_body(weights, seen_features(weights, np.array(views))) for views in both)
        found.append((other, own))
    return found


def _retargeted(pose: Pose, bodies: Bodies, scale: float, shift: np.ndarray) -> Pose:
    """The pose with the own body's proportions on its own place, then scaled and moved."""
    points, found = pose.keypoints.copy(), pose.visible
    points[found, :2] = (_in_place(pose, bodies) * scale + shift)[found]
    return Pose(points, pose.width, pose.height, _hands(pose, points))


def _in_place(pose: Pose, bodies: Bodies) -> np.ndarray:
    """Places (18, 2) in pixels; the lower ankle stays on its height, and the trunk above the same place."""
    after, before = _fitted(pose, bodies), pose.keypoints[:, :2].astype(np.float64)
    after += _anchor(before, pose.visible) - _anchor(after, pose.visible)
    return after


def _to_source(first: Pose, seen: Sequence[Pose], source: Pose, bodies: Bodies) -> tuple[float, np.ndarray]:
    """Scale and step (2,) that bring the first pose, when it is fitted, to where and as tall as the source's person is."""
    own = source.fit(first.width, first.height)
    found = first.visible
    both = found & own.visible if (found & own.visible).any() else found | own.visible
    scale = _height(own) / float(np.median([_height(pose) for pose in seen]))
    after = _in_place(first, bodies) * scale
    return scale, _anchor(own.keypoints[:, :2], both & own.visible) - _anchor(after, both & found)


def can_be_fitted(pose: Pose) -> bool:
    """Whether a pose has enough points, in different places, to be fitted or to tell a body."""
    return _num_points(pose) >= LEAST_POINTS


def _num_points(pose: Pose) -> int:
    return len(set(map(tuple, pose.keypoints[pose.visible, :2].tolist())))


def _fitted(pose: Pose, bodies: Bodies) -> np.ndarray:
    """Places (18, 2) in pixels, the mean of what the network says of the poses and of their mirror images."""
    told = []
    for mirror, (other, own) in enumerate(bodies):
        target = pose.mirror() if mirror else pose
        places = fitted_places(_weights(), target.keypoints, other, own)
        told.append(Pose(np.concatenate([places, target.keypoints[:, 2:]], 1), pose.width, pose.height))
    mean: np.ndarray = (told[0].keypoints[:, :2] + told[1].mirror().keypoints[:, :2].astype(np.float64)) / 2
    return mean


def _height(pose: Pose) -> float:
    """Height in pixels at which the network takes the whole person to stand upright in this picture."""
    points = np.array([pose.keypoints, pose.mirror().keypoints])
    return float(
        normalized(points)[2].mean() * np.exp(log_height(_weights(), seen_features(_weights(), points)).mean())
    )


def _anchor(places: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The point (2,) that holds a person in place: below the trunk on the lower ankle's height, or the neck's."""
    middle = [joint for joint in _MIDDLE if found[joint]] or np.flatnonzero(found)
    feet = [joint for joint in _ANKLES if found[joint]]
    across = places[middle, 0].mean()
    if feet:
        return np.array([across, places[feet, 1].max()])
    return np.array([across, places[_NECK, 1] if found[_NECK] else places[middle, 1].mean()])


def _hands(pose: Pose, points: np.ndarray) -> np.ndarray | None:
    """The hands on the new wrists, larger or smaller as the person is."""
    if pose.hands is None:
        return None
    hands, found = pose.hands.copy(), pose.visible
    before, after = (one[found, :2] - one[found, :2].mean(0) for one in (pose.keypoints, points))
    scale = np.sqrt((after**2).sum() / (before**2).sum())
    for hand, wrist in zip(hands, _WRISTS, strict=True):
        start, end = (pose.keypoints[wrist, :2], points[wrist, :2]) if found[wrist] else (hand[0, :2], hand[0, :2])
        hand[:, :2] = np.where(hand[:, 2:] > 0, (hand[:, :2] - start) * scale + end, hand[:, :2])
    return hands


@lru_cache(maxsize=1)
def _weights() -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return {name: weight.astype(np.float32) for name, weight in load_file(RETARGETING_WEIGHTS).items()}


def _paths() -> np.ndarray:
    paths = np.zeros((len(KEYPOINT_NAMES), len(LIMBS)), np.float32)
    for bone, (first, second) in enumerate(LIMBS):  # the first is nearer to the neck, and its own bone stands before
        paths[second] = paths[first]
        paths[second, bone] = 1
    return paths


PATHS = _paths()
"""float32 (18, 17): 1 where a bone lies between the neck and a joint."""


def normalized(points: Array) -> tuple[Array, Array, Array]:
    """Places with mean 0 and mean square 1 over the found points, 0 where missing; the mean, and the root mean square.

    Args:
        points: (..., 18, 3).

    Returns:
        (..., 18, 2), (..., 1, 2), (..., 1, 1).
    """
    found = points[..., 2:] > 0
    count = found.sum(-2, keepdims=True)
    middle = (points[..., :2] * found).sum(-2, keepdims=True) / count
    places = (points[..., :2] - middle) * found
    size = ((places**2).sum(-1, keepdims=True).sum(-2, keepdims=True) / count) ** 0.5
    return places / size, middle, size


def _layers(weights: dict[str, Array], name: str, inputs: Sequence[tuple[str, Array]]) -> Array:
    """Features (..., width): residual layers with ReLU on the sum of what the inputs give."""
    x = weights[f"{name}.bias"]
    for part, values in inputs:
        x = x + values @ weights[f"{name}.{part}"]
    x = x.clip(0)
    layer = 1
    while f"{name}.{layer}.weight" in weights:
        x = x + _linear(weights, f"{name}.{layer}", x).clip(0)
        layer += 1
    return x


def _linear(weights: dict[str, Array], name: str, x: Array) -> Array:
    return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]


def seen_features(weights: dict[str, Array], views: Array) -> Array:
    """Features (..., width) of a person in views (..., 18, 3): of places, all distances, confidences, what is found."""
    confidence = views[..., 2]
    return _layers(weights, "view", [*_seen(normalized(views)[0], confidence), ("confidence", confidence)])


def _seen(places: Array, confidence: Array) -> list[tuple[str, Array]]:
    """What layers see of places (..., 18, 2) by `normalized`: these, the distances of all pairs of joints, what is found."""
    apart = (places[..., _ONE, :] - places[..., _OTHER, :]) ** 2
    known = (confidence[..., _ONE] > 0) & (confidence[..., _OTHER] > 0)
    distances = 8 * ((apart.sum(-1) + _NEAR) ** (1 / 16) - 1) * known  # about the logarithm, of which lengths are a sum
    flat = places.reshape(*confidence.shape[:-1], -1)
    return [("places", flat), ("distances", distances), ("found", (confidence > 0) * 1.0)]


def opinions(weights: dict[str, Array], features: Array) -> Array:
    """What each view says of the body, (..., 64); first of it are logarithms of the bones' lengths."""
    return _linear(weights, "opinion", features)


def pooled_body(weights: dict[str, Array], features: Array) -> Array:
    """The body (..., 64) by features (..., v, width) of a person's views."""
    weight = _linear(weights, "weight", features).clip(0) + _LEAST_WEIGHT
    total = weight.sum(-2)
    mean = (opinions(weights, features) * weight).sum(-2) / total
    seen = [("mean", mean), ("share", total / (1 + total))]
    return mean + _linear(weights, "correction", _layers(weights, "body", seen))


def log_height(weights: dict[str, Array], features: Array) -> Array:
    """Logarithm of the whole person's upright height in units of the root mean square of `normalized`, (..., 1)."""
    return _linear(weights, "height", features)


def fitted_places(weights: dict[str, Array], points: Array, other: Array, own: Array, paths: Array = PATHS) -> Array:
    """Places (..., 18, 2), up to a shift, of a pose (..., 18, 3) taken from the other body to the own, each (..., 64)."""
    places, middle, size = normalized(points)
    confidence, bones = points[..., 2], len(LIMBS)
    inputs = _seen(places, confidence)
    change = _USUAL * _linear(weights, "change", _layers(weights, "pose", [*inputs, ("other", other), ("own", own)]))
    factors = change[..., :bones] + LENGTH * (own - other)[..., :bones]
    known = (confidence[..., _SECOND] > 0) & (confidence[..., _FIRST] > 0)
    vectors = places[..., _SECOND, :] - places[..., _FIRST, :]
    moves = change[..., bones:].reshape(places.shape)
    return (places + paths @ (vectors * (factors * known)[..., None]) + moves) * size + middle
