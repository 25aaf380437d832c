"""A set whose people are colours, for tests of re-identification."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from imagpose.data.reid import FOLDERS, market_name
from imagpose.pose import write_annotation_csv
from imagpose.pose.library import library

HEIGHT, WIDTH = 64, 32


def colour_set(root: Path, identities: int = 4, views: int = 2) -> Path:
    """Identities 1.. to train on and others to look for; two cameras; key points of the training pictures."""
    clothes = np.random.default_rng(0).integers(40, 216, (2 * identities, 3))
    poses = {}
    named = [own.pose.fit(WIDTH, HEIGHT) for own in library().values()]
    for part, folder in FOLDERS.items():
        (root / folder).mkdir(parents=True)
        for identity in range(identities):
            number = identity + (0 if part == "train" else identities)
            for camera in (1, 2):
                for view in range(1 if part == "query" else views):
                    picture = np.full((HEIGHT, WIDTH, 3), 60 * camera, np.uint8)
                    picture[8:56, 8:24] = clothes[number] + 4 * view
                    name = market_name(number + 1, camera, 10 * camera + view, box=part == "query")
                    Image.fromarray(picture).save(root / folder / name, quality=80, subsampling=2)
                    if part == "train":
                        poses[name] = named[len(poses) % len(named)]
    write_annotation_csv(poses, root / "market-annotation-train.csv")
    return root


def middle_colour(pictures: Iterable[Image.Image]) -> np.ndarray:
    """An embedding that looks at the clothes alone."""
    values = [np.asarray(own)[20:44, 12:20].reshape(-1, 3).mean(0) - 128 for own in pictures]
    return np.stack([own / np.linalg.norm(own) for own in values])
