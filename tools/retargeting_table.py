"""How well poses are fitted to bodies: the tables of docs/poses.md, over pairs of people of the test split.

    python tools/retargeting_table.py --people runs/retargeting --count 2000

Errors are mean distances of a joint in hundredths of the body's height, place given: with the heights of both people given,
and after the best scale, found by the truth; the best uniform scale is what "nothing" has there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imagpose.people.motion import KINDS
from imagpose.pose import LIMBS, Pose
from imagpose.pose.retarget import can_be_fitted, retarget
from retargeting_pairs import HEIGHT, VIEWS, WIDTH, Pairs, load_pairs

__all__ = ["TOUCHING", "errors", "fitted"]

TOUCHING = (
    "lunge", "hips", "one_hip", "pocket", "pockets", "clasp", "crossed", "behind", "phone", "chin", "sit", "sit_on_floor",
    "crouch", "kneel",
)  # fmt: skip
"""Kinds of motions in which a hand must touch the body, or the floor."""
_GUESSED = 0.3  # a bone's ratio lies within 1.3 and its inverse: what tools do lest arms become as long as apes'


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
