"""Test pairs for retargeting: two people in one motion before one camera, and views of the first in other motions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from imagpose.people import TEST_SEEDS, Motion, ViewSpec, make_identity, pose_motion, sample_motion, sample_view_specs
from imagpose.people.camera import Projection, frame_person, turn
from imagpose.people.identity import Identity
from imagpose.people.motion import DEEP_KINDS, KINDS
from imagpose.people.skinning import pose_identity

__all__ = ["HEIGHT", "VIEWS", "WIDTH", "Pairs", "load_pairs", "make_pairs"]

HEIGHT, WIDTH, VIEWS = 256, 176, 4
_PEOPLE = 400
_FRONT, _STANDING = 0, "stand"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Key points in pixels of pictures of 256x176; confidence 1 inside of the picture, 0 outside.

    Attributes:
        target: float32 (n, 18, 3), the driver's pose.
        truth: (n, 18, 2), the person's in the same motion before the same camera.
        sources: (n, 4, 18, 3), the person in other motions: one view from the front, the back and each side, in any order.
        reference: (n, 18, 3), the driver standing, from the front.
        height: (n,), the driver's body height in pixels; truth_height: the person's; source_height: (n, 4), in the sources.
        kind: (n,), index into the names of `KINDS`.
    """

    target: np.ndarray
    truth: np.ndarray
    sources: np.ndarray
    reference: np.ndarray
    height: np.ndarray
    truth_height: np.ndarray
    source_height: np.ndarray
    kind: np.ndarray


def load_pairs(file: Path, count: int) -> Pairs:
    """Pairs from a file that is written if it does not exist; a fortieth of a second each."""
    if not file.exists():
        made = make_pairs(count, min(_PEOPLE, count))
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(vars(made), file)
    return Pairs(**load_file(file))


def make_pairs(count: int, people: int) -> Pairs:
    """Pairs of the first people of the test split; every kind of motion as often as any other."""
    identities = [make_identity(TEST_SEEDS[number]) for number in range(people)]
    rows = [_pair(number, identities) for number in range(count)]
    return Pairs(**{name: np.array([row[name] for row in rows]) for name in rows[0]})


def _pair(number: int, people: list[Identity]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([number, 0x9A12])
    person, driver = (people[index] for index in rng.choice(len(people), 2, replace=False))
    kind = list(KINDS)[number % len(KINDS)]
    motion, spec = sample_motion(rng, (kind,)), _specs(rng)[0]
    target, camera = _view(driver, motion, spec)
    truth, _ = _view(person, motion, spec, camera)
    sources, cameras = zip(*(_view(person, sample_motion(rng), spec) for spec in _specs(rng)), strict=True)
    front = sample_view_specs(int(rng.integers(2**31)), 1, "varied")[_FRONT]
    return {
        "target": target,
        "truth": truth[:, :2].copy(),
        "sources": np.array(sources),
        "reference": _view(driver, sample_motion(rng, (_STANDING,)), front)[0],
        "height": _height(driver, camera),
        "truth_height": _height(person, camera),
        "source_height": np.array([_height(person, own) for own in cameras]),
        "kind": np.int64(list(KINDS).index(kind)),
    }


def _height(identity: Identity, camera: Projection) -> np.float32:
    """Of body and shoes at rest, upright, in pixels."""
    height = np.ptp(identity.rest_vertices[identity.carries, 2])
    return np.float32(camera.focal * height / np.linalg.norm(camera.position - [0, 0, 0.85]))


def _specs(rng: np.random.Generator) -> list[ViewSpec]:
    """One view from the front, the back and each side, in any order, of all framings."""
    specs = sample_view_specs(int(rng.integers(2**31)), 2 * VIEWS, "varied")[VIEWS:]
    return [specs[index] for index in rng.permutation(VIEWS)]


def _view(
    identity: Identity, motion: Motion, spec: ViewSpec, camera: Projection | None = None
) -> tuple[np.ndarray, Projection]:
    """Key points (18, 3) of `scene.render_view`, all inside of the picture as visible, and the camera."""
    mesh = pose_identity(identity, pose_motion(identity, motion).rotations)
    vertices, keypoints = mesh.vertices @ turn(spec.yaw).T, mesh.keypoints @ turn(spec.yaw).T
    if camera is None:
        wanted = spec.camera if motion.kind not in DEEP_KINDS else replace(spec.camera, framing="full")
        camera = frame_person(wanted, vertices, keypoints, HEIGHT, WIDTH)
    pixels, _ = camera.project(keypoints)
    inside = ((pixels >= 0) & (pixels < [WIDTH, HEIGHT])).all(1)
    return np.concatenate([pixels, inside[:, None]], 1).astype(np.float32), camera
