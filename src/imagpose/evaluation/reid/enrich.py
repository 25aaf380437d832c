"""Use without retraining: pictures are also turned into standard poses, and the features of all are merged. Source: own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from imagpose.data.reid import ReidPicture
from imagpose.evaluation.reid.drawing import Draw, Drawing
from imagpose.evaluation.reid.evaluate import Embed
from imagpose.pictures import load_picture
from imagpose.pose import Pose
from imagpose.pose.library import library

PARTS = ("query", "gallery")
STANDARD_POSES = ("stand-01", "stand-04", "stand-02", "stand-08", "stand-03", "stand-06", "walk-02", "stand-05")
"""Of the library: a person who stands or walks, seen from eight sides."""
_AT_ONCE = 8


def enriching(
    draw: Draw, embed: Embed, poses: Mapping[str, Mapping[str, Pose]], weight: float, seed: int = 0
) -> Callable[[str, Sequence[ReidPicture], np.ndarray], np.ndarray]:
    """What `evaluate_reid` changes features by: those of generated pictures are merged into them.

    Args:
        draw, embed: of `drawing.open_drawing` and `evaluate.open_embedder`.
        poses: of "query", "gallery" or both, by file name, see `drawing.find_poses`. A picture without one keeps its
            feature: a model that moves its sources into the target's pose draws nothing of it.
        weight: see `merge`.
        seed: of the noise of all pictures.

    Raises:
        ValueError: see `check_enriching`.
    """
    check_enriching(poses, weight)
    standard = [library()[name].pose for name in STANDARD_POSES]

    def change(part: str, pictures: Sequence[ReidPicture], features: np.ndarray) -> np.ndarray:
        known = poses.get(part, {})
        numbers = [number for number, own in enumerate(pictures) if own.file.name in known]
        changed = features.copy()
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            files = [pictures[number].file for number in some]
            asked = [Drawing(load_picture(file), known[file.name], standard, seed) for file in files]
            changed[some] = merge(features[some], np.stack([embed(drawn) for drawn in draw(asked)]), weight)
        return changed

    return change


def check_enriching(parts: Collection[str], weight: float) -> None:
    """Look at what is asked for before a model is loaded.

    Raises:
        ValueError: another part, or a weight that is not from 0 to 1.
    """
    if not parts or set(parts) - set(PARTS):
        raise ValueError(f"enrich is {','.join(parts)!r}; query, gallery or query,gallery expected")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}; a number from 0 to 1 expected")


def merge(features: np.ndarray, turned: np.ndarray, weight: float) -> np.ndarray:
    """(1 - weight) times the feature plus weight times the mean of the generated pictures', brought to length 1.

    Args:
        features: (n, d) of length 1.
        turned: (n, poses, d) of length 1.
        weight: 0 leaves the features as they are.
    """
    mixed = (1 - weight) * features + weight * turned.mean(axis=1)
    merged: np.ndarray = mixed / np.linalg.norm(mixed, axis=1, keepdims=True).clip(1e-12)
    return merged
