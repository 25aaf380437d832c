"""Training examples for retargeting: key points of rendered people in space, and random examples made of them.

People come in groups who make the same motions; their key points need no picture, and a thousand of them take four seconds.
What a picture or a detector does to key points is drawn: perspective, turning, cropping, hidden and lost points, noise.
Limbs are turned at random too, alike on both bodies: users' poses are more than our people's own motions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch.nn import functional

from imagpose.people import make_identity, pose_motion, sample_motion
from imagpose.people.motion import KINDS
from imagpose.people.skinning import pose_identity
from imagpose.pose import LIMBS
from imagpose.pose.keypoints import KEYPOINT_NAMES
from imagpose.pose.keypoints import MIRRORED as _MIRRORED

MIRRORED = list(_MIRRORED)
_POINTS = len(KEYPOINT_NAMES)
_NECK, _HIPS, _KNEES = 1, (8, 11), (9, 12)
# What turns about a key point, and the standard deviation of the angle in radians; all but the head and arms about the neck.
_LIMBS = {
    (1, 0.4): (0, 14, 15, 16, 17), (2, 0.6): (3, 4), (3, 0.6): (4,), (5, 0.6): (6, 7), (6, 0.6): (7,),
    (8, 0.6): (9, 10), (9, 0.6): (10,), (11, 0.6): (12, 13), (12, 0.6): (13,),
}  # fmt: skip
_TRUNK, _TRUNK_ANGLE = (8, 9, 10, 11, 12, 13), 0.4
_LOST_TOGETHER = ((4,), (7,), (3, 4), (6, 7), (10,), (13,), (9, 10), (12, 13), (16,), (17,), (14, 16), (15, 17))
_FACE = (0, 14, 15)
_BENT, _SAME, _MIXED = 0.15, 0.04, 0.6  # shares of examples: limbs turned, both people one, bodies mixed of two
_CUT, _LOST, _STRAY = 0.25, 0.02, 0.01  # shares of views that are cropped, of points that are lost, that lie elsewhere


@dataclass(frozen=True, eq=False)
class Groups:
    """People in groups; all of a group make the same motions.

    Attributes:
        keypoints: float32 (groups, people, motions, 18, 3), metres: x to the left, y backwards, z up from the floor.
        heights: float32 (groups, people), of body and shoes at rest, metres.
    """

    keypoints: np.ndarray
    heights: np.ndarray

    @cached_property
    def lengths(self) -> np.ndarray:
        """float32 (groups, people, 17): logarithms of the bones' lengths over the height, less the means of all people."""
        first, second = ([limb[end] for limb in LIMBS] for end in (0, 1))
        bones = np.linalg.norm(self.keypoints[..., second, :] - self.keypoints[..., first, :], axis=-1).mean(2)
        logarithms = np.log(bones / self.heights[..., None])
        centred: np.ndarray = logarithms - logarithms.mean((0, 1))
        return centred


def make_groups(seeds: Sequence[int], groups: int, people: int, motions: int) -> Groups:
    """Draw groups of the identities of `seeds`, in their order; motions are drawn from the first seed of a group."""
    keypoints = np.zeros((groups, people, motions, 18, 3), np.float32)
    heights = np.zeros((groups, people), np.float32)
    names = list(KINDS)
    for group in range(groups):
        of_group = seeds[group * people : (group + 1) * people]
        rng = np.random.default_rng([of_group[0], 0x3E7A])
        drawn = [sample_motion(rng, (names[rng.integers(len(names))],)) for _ in range(motions)]
        for person, seed in enumerate(of_group):
            identity = make_identity(seed)
            heights[group, person] = np.ptp(identity.rest_vertices[identity.carries, 2])
            for number, motion in enumerate(drawn):
                posture = pose_motion(identity, motion)
                keypoints[group, person, number] = pose_identity(identity, posture.rotations).keypoints
    return Groups(keypoints, heights)


def load_groups(file: Path, seeds: Sequence[int], groups: int, people: int, motions: int) -> Groups:
    """Groups from a file that is written if it does not exist."""
    if not file.exists():
        made = make_groups(seeds, groups, people, motions)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"keypoints": made.keypoints, "heights": made.heights}, file)
    return Groups(**load_file(file))


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples, each with as many views of the person.

    Attributes:
        target: (n, 18, 3), a pose of somebody else. truth: (n, 18, 2), the person in it, as tall.
        sources: (n, views, 18, 3), the person in other poses.
        lengths, other_lengths: (n, 17), logarithms of the bones' lengths in space over the height, less their means.
        height: (n, 1), of the person in the target's picture. source_height: (n, views, 1).
    """

    target: torch.Tensor
    truth: torch.Tensor
    sources: torch.Tensor
    lengths: torch.Tensor
    other_lengths: torch.Tensor
    height: torch.Tensor
    source_height: torch.Tensor


class Draw:
    """Random tensors of one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def integers(self, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=self.generator)

    def rotations(self, count: int, deviation: float) -> torch.Tensor:
        """(count, 3, 3) about random axes (Rodrigues)."""
        x, y, z = functional.normalize(self.normal(count, 3), dim=1).unbind(1)
        zero = torch.zeros(count)
        cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(count, 3, 3)
        angle = deviation * self.normal(count, 1, 1)
        return torch.eye(3) + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)


def make_batch(groups: Groups, count: int, views: int, generator: torch.Generator) -> Batch:
    """Draw examples with `views` views of the person; half of them are mirrored."""
    draw = Draw(generator)
    group = draw.integers(len(groups.keypoints), count)
    motions = draw.integers(groups.keypoints.shape[2], count, 1 + views)
    own, own_height, lengths = _person(draw, groups, group, motions)
    other, other_height, other_lengths = _person(draw, groups, group, motions[:, :1])
    same = draw.uniform(count) < _SAME
    other = torch.where(same[:, None, None, None], own[:, :1], other)
    other_height = torch.where(same, own_height, other_height)
    bent = int(_BENT * count)
    both = torch.stack([own[:, 0], other[:, 0]])
    _bend(draw, both[:, :bent])
    others = own[:, 1:].clone()
    _bend(draw, others[:bent].view(1, bent * views, _POINTS, 3))

    camera = _cameras(draw, count)
    target, truth = _project((both[1], both[0]), *camera)
    truth = (truth - truth[:, _NECK, None]) * (other_height / own_height)[:, None, None] + truth[:, _NECK, None]
    height = other_height[:, None] / camera[2]
    noise = 0.002 * height[:, :, None] * draw.normal(count, 1, 1) * draw.normal(count, _POINTS, 2)
    target = torch.cat([target + noise, _confidence(draw, target, camera[0])[..., None]], 2)

    camera = _cameras(draw, count * views)
    source_height = own_height.repeat_interleave(views)[:, None] / camera[2]
    sources = _seen(draw, _project((others.flatten(0, 1),), *camera)[0], camera[0], source_height)
    sources = sources.view(count, views, _POINTS, 3)
    mirror = draw.uniform(count) < 0.5
    flip = torch.tensor([-1.0, 1.0, 1.0])
    return Batch(
        target=torch.where(mirror[:, None, None], target[:, MIRRORED] * flip, target),
        truth=torch.where(mirror[:, None, None], (truth + noise)[:, MIRRORED] * flip[:2], truth + noise),
        sources=torch.where(mirror[:, None, None, None], sources[:, :, MIRRORED] * flip, sources),
        lengths=lengths,
        other_lengths=torch.where(same[:, None], lengths, other_lengths),
        height=height,
        source_height=source_height.view(count, views, 1),
    )


def _person(
    draw: Draw, groups: Groups, group: torch.Tensor, motions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A person of each group, or between or beyond two: key points (n, m, 18, 3), height (n,), lengths (n, 17)."""
    keypoints, heights, lengths = map(torch.from_numpy, (groups.keypoints, groups.heights, groups.lengths))
    people, count = keypoints.shape[1], len(group)
    first = draw.integers(people, count)
    second = (first + 1 + draw.integers(people - 1, count)) % people
    share = torch.where(draw.uniform(count) < _MIXED, 1.2 * draw.uniform(count) - 0.4, 0.0)

    def mixed(values: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        index = (slice(None), *[None] * len(more))
        one, other = (values[(group[index], person[index], *more)] for person in (first, second))
        part = share.view(-1, *[1] * (one.ndim - 1))
        return (1 - part) * one + part * other

    return mixed(keypoints, motions), mixed(heights), mixed(lengths)


def _bend(draw: Draw, keypoints: torch.Tensor) -> None:
    """Turns limbs of bodies (bodies, n, 18, 3) in place, alike on all bodies, and some whole bodies."""

    def turn(share: float, deviation: float, points: tuple[int, ...], about: int) -> None:
        chosen = torch.nonzero(draw.uniform(keypoints.shape[1]) < share)[:, 0]
        rotation = draw.rotations(len(chosen), deviation)
        these = keypoints[:, chosen]
        centre = these[:, :, about, None]
        these[:, :, points] = torch.einsum("nij,bnpj->bnpi", rotation, these[:, :, points] - centre) + centre
        keypoints[:, chosen] = these

    for (about, deviation), points in _LIMBS.items():
        turn(0.5, deviation, points, about)
    turn(0.5, _TRUNK_ANGLE, _TRUNK, _NECK)
    turn(0.3, 0.8, tuple(range(_POINTS)), _NECK)


def _cameras(draw: Draw, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Yaw and pitch in radians and distance in metres, (count, 1) each: more from the front, some from far above."""
    yaw = torch.where(draw.uniform(count, 1) < 0.3, 0.25 * draw.normal(count, 1), 2 * math.pi * draw.uniform(count, 1))
    pitch = torch.where(
        draw.uniform(count, 1) < 0.15, 50 * draw.uniform(count, 1) - 15, (3 + 5 * draw.normal(count, 1)).clip(-7, 16)
    )
    return yaw, torch.deg2rad(pitch), 2.5 * (8 / 2.5) ** draw.uniform(count, 1)


def _project(
    people: tuple[torch.Tensor, ...], yaw: torch.Tensor, pitch: torch.Tensor, distance: torch.Tensor
) -> list[torch.Tensor]:
    """Places (n, 18, 2) of people (n, 18, 3), focal length 1, aimed at the first; axes and angles of `people.camera`."""
    cosine, sine = torch.cos(yaw), torch.sin(yaw)
    turned = [
        torch.stack([cosine * x - sine * y, sine * x + cosine * y, z], -1)
        for x, y, z in (one.unbind(-1) for one in people)
    ]
    first = turned[0]
    middle = (first[..., 2].amin(1) + first[..., 2].amax(1)) / 2
    aim = torch.cat([first[:, _NECK, :2], middle[:, None]], 1)[:, None]
    places = []
    for one in turned:
        right, forward, up = (one - aim).unbind(-1)
        depth = torch.cos(pitch) * forward - torch.sin(pitch) * up + distance
        places.append(torch.stack([right, -torch.sin(pitch) * forward - torch.cos(pitch) * up], -1) / depth[..., None])
    return places


def _confidence(draw: Draw, places: torch.Tensor, yaw: torch.Tensor) -> torch.Tensor:
    """Confidences (n, 18): 0 where cropped or lost, in half of the views 1 otherwise."""
    count, down = len(places), places[..., 1]
    top, bottom = down.amin(1), down.amax(1)
    hips, knees = (down[:, joints].mean(1) for joints in (_HIPS, _KNEES))
    anywhere = bottom - 0.7 * draw.uniform(count) * (bottom - top)
    cuts = torch.stack([0.25 * down[:, _NECK] + 0.75 * hips, (hips + knees) / 2, anywhere])
    kind = draw.integers(3, count)
    cut = torch.where(draw.uniform(count) < _CUT, cuts[kind, torch.arange(count)], math.inf)
    found = down <= cut[:, None]
    found &= draw.uniform(count, _POINTS) >= 2 * _LOST * draw.uniform(count, 1)
    for points in _LOST_TOGETHER:
        found[:, points] &= draw.uniform(count, 1) >= 0.02
    behind = (torch.cos(yaw[:, 0]) < -0.3) & (draw.uniform(count) < 0.4)  # OpenPose leaves out eyes and nose there
    found[:, _FACE] &= ~behind[:, None]
    found |= (found.sum(1) < 5)[:, None]
    sure = draw.uniform(count, 1) < 0.5
    return found * torch.where(sure, 1.0, 0.4 + 0.6 * draw.uniform(count, _POINTS))


def _seen(draw: Draw, places: torch.Tensor, yaw: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
    """Views (n, 18, 3) as a detector gives them: a little off, some points elsewhere and not sure."""
    count, unit = len(places), height[:, :, None]
    confidence = _confidence(draw, places, yaw)
    places = places + 0.003 * unit * draw.normal(count, 1, 1) * draw.normal(count, _POINTS, 2)
    stray = draw.uniform(count, _POINTS) < 2 * _STRAY * draw.uniform(count, 1)
    places = torch.where(stray[..., None], places + 0.06 * unit * draw.normal(count, _POINTS, 2), places)
    unsure = torch.where(confidence > 0, 0.1 + 0.4 * draw.uniform(count, _POINTS), 0.0)
    return torch.cat([places, torch.where(stray, unsure, confidence)[..., None]], 2)
