"""How well poses are fitted to bodies: the tables of docs/poses.md, over pairs of people of the test split.

    python tools/retargeting_table.py --people runs/retargeting --count 2000

Errors are mean distances of a joint in hundredths of the body's height, place given: with the heights of both people given,
and after the best scale, found by the truth; the best uniform scale is what "nothing" has there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from imagpose.people import TEST_SEEDS, Motion, ViewSpec, make_identity, pose_motion, sample_motion, sample_view_specs
from imagpose.people.camera import Projection, frame_person, turn
from imagpose.people.identity import Identity
from imagpose.people.motion import DEEP_KINDS, KINDS
from imagpose.people.skinning import pose_identity
from imagpose.pose import LIMBS, Pose
from imagpose.pose.retarget import can_be_fitted, retarget

HEIGHT, WIDTH, VIEWS = 256, 176, 4
_PEOPLE = 400
_FRONT, _STANDING = 0, "stand"
TOUCHING = (
    "lunge", "hips", "one_hip", "pocket", "pockets", "clasp", "crossed", "behind", "phone", "chin", "sit", "sit_on_floor",
    "crouch", "kneel",
)  # fmt: skip
"""Kinds of motions in which a hand must touch the body, or the floor."""
_GUESSED = 0.3  # a bone's ratio lies within 1.3 and its inverse: what tools do lest arms become as long as apes'


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


def fitted(pairs: Pairs, views: int) -> np.ndarray:
    """Places (n, 18, 2) of the targets on the bodies of the first `views` sources."""
    places = []
    for target, sources in zip(pairs.target, pairs.sources, strict=True):
        poses, pose = [Pose(source, WIDTH, HEIGHT) for source in sources[:views]], Pose(target, WIDTH, HEIGHT)
        known = can_be_fitted(pose) and any(map(can_be_fitted, poses))
        places.append((retarget(pose, poses) if known else pose).keypoints[:, :2])
    return np.array(places)


def errors(pairs: Pairs, places: np.ndarray, scaled: bool) -> np.ndarray:
    """Distances (n, 18) from the truth relative to the person's height after the best shift, and scale if `scaled`.

    Points that the target lacks are not a number.
    """
    found = pairs.target[..., 2:] > 0
    ours, truth = (
        one - (one * found).sum(1, keepdims=True) / found.sum(1, keepdims=True) for one in (places, pairs.truth)
    )
    if scaled:
        ours = ours * ((ours * truth * found).sum((1, 2)) / (ours**2 * found).sum((1, 2)))[:, None, None]
    distances = np.hypot(*np.moveaxis(ours - truth, 2, 0)) / pairs.truth_height[:, None]
    return np.where(found[..., 0], distances, np.nan)


def bones_scaled(pairs: Pairs, reference: bool) -> np.ndarray:
    """Bones with the lengths they have in the first source, or longer as they are there than in the driver's reference."""
    source, other = pairs.sources[:, 0], pairs.reference if reference else pairs.target
    places = np.zeros_like(pairs.truth)
    ratios = np.ones((len(places), len(LIMBS)))
    for bone, limb in enumerate(LIMBS):
        lengths = [np.hypot(*(one[:, limb[1], :2] - one[:, limb[0], :2]).T) for one in (source, other)]
        known = ((source[:, limb, 2] > 0) & (other[:, limb, 2] > 0)).all(1) & (lengths[1] > 1)
        ratios[:, bone] = np.where(known, lengths[0] / np.maximum(lengths[1], 1e-6), np.nan)
    whole = np.nan_to_num(np.nanmedian(ratios, 1, keepdims=True), nan=1.0)
    ratios = np.nan_to_num(ratios / whole, nan=1.0)  # the size of each person in its picture is not the body's
    if reference:
        ratios = ratios.clip(1 / (1 + _GUESSED), 1 + _GUESSED)
    for bone, (first, second) in enumerate(LIMBS):
        bone_vector = pairs.target[:, second, :2] - pairs.target[:, first, :2]
        places[:, second] = places[:, first] + ratios[:, bone, None] * bone_vector
    return places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=Path, required=True, help="folder for key points")
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    pairs = load_pairs(arguments.people / f"pairs-{arguments.count}.safetensors", arguments.count)
    given = (pairs.truth_height / pairs.height)[:, None, None]
    target = pairs.target[..., :2]
    methods: dict[str, Callable[[], np.ndarray]] = {
        "nothing": lambda: target,
        "uniform scale, by the heights": lambda: given * target,
        "lengths of bones in the source's picture": lambda: given * bones_scaled(pairs, False),
        "ratios of bones to a reference of the driver": lambda: given * bones_scaled(pairs, True),
    }
    for views in (1, 2, VIEWS):
        methods[f"ours, {views} source view{'s'[: views > 1]}"] = lambda views=views: given * fitted(pairs, views)
    print("| method | heights given | best scale | of the best uniform scale |\n| --- | --- | --- | --- |")
    best = errors(pairs, target, True)
    found = {}
    for name, method in methods.items():
        places = method()
        plain, scaled = errors(pairs, places, False), errors(pairs, places, True)
        found[name] = (plain, scaled)
        ratio = np.nanmean(scaled) / np.nanmean(best)
        print(f"| {name} | {100 * np.nanmean(plain):.2f} | {100 * np.nanmean(scaled):.2f} | {ratio:.2f} |", flush=True)
    ours = [found[name] for name in methods if name.startswith("ours")]
    print("\n| motions | pairs | best uniform scale | ours, 1 view | 4 views | of the best, 1 | 4 |\n|" + " --- |" * 7)
    for name, chosen in groups(pairs):
        scale, one, four = (100 * np.nanmean(x[chosen]) for x in (best, ours[0][1], ours[-1][1]))
        print(
            f"| {name} | {chosen.sum()} | {scale:.2f} | {one:.2f} | {four:.2f} | {one / scale:.2f} | {four / scale:.2f} |"
        )


def groups(pairs: Pairs) -> list[tuple[str, np.ndarray]]:
    """Which pairs (n,) are of each stance, of each framing, and whether hands touch the body."""
    names = list(KINDS)
    stances = np.array([KINDS[names[kind]].stance for kind in pairs.kind])
    touching = np.array([names[kind] in TOUCHING for kind in pairs.kind])
    whole = (pairs.target[:, (10, 13), 2] > 0).all(1)
    return [
        *((stance, stances == stance) for stance in dict.fromkeys(stances)),
        ("whole bodies", whole),
        ("parts of bodies", ~whole),
        ("hands free", ~touching),
        ("hands at the body", touching),
    ]


if __name__ == "__main__":
    main()
