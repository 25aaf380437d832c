"""Use without retraining: pictures are also turned into standard poses, and the features of all are merged. Source: own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from imagpose.data.reid import ReidPicture
from imagpose.evaluation.reid.drawing import Draw, Drawing
from imagpose.evaluation.reid.evaluate import Embed
from imagpose.pictures import load_picture
from imagpose.pose.library import library

PARTS = ("query", "gallery")
STANDARD_POSES = ("stand-01", "stand-04", "stand-02", "stand-08", "stand-03", "stand-06", "walk-02", "stand-05")
"""Of the library: a person who stands or walks, seen from eight sides."""
_AT_ONCE = 8


def enriching(
    draw: Draw, embed: Embed, parts: Collection[str], weight: float, seed: int = 0
) -> Callable[[str, Sequence[ReidPicture], np.ndarray], np.ndarray]:
    """What `evaluate_reid` changes features by: those of generated pictures are merged into them.

    Args:
        draw, embed: of `drawing.open_drawing` and `evaluate.open_embedder`.
        parts: "query", "gallery" or both.
        weight: see `merge`.
        seed: of the noise of all pictures.

    Raises:
        ValueError: see `check_enriching`.
    """
    check_enriching(parts, weight)
    poses = [library()[name].pose for name in STANDARD_POSES]

    def change(part: str, pictures: Sequence[ReidPicture], features: np.ndarray) -> np.ndarray:
        if part not in parts:
            return features
        turned = []
        for start in range(0, len(pictures), _AT_ONCE):
            sources = [load_picture(own.file) for own in pictures[start : start + _AT_ONCE]]
            for drawn in draw([Drawing(source, None, poses, seed) for source in sources]):
                turned.append(embed(drawn))
        return merge(features, np.stack(turned), weight)

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
