"""Fake people and small configurations: an identity is a colour, so that stages learn something in a few steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HEIGHT, WIDTH, VIEWS, BLOCK = 64, 64, 6, 4


def fake_views(
    seeds: Iterable[int], views: int, height: int, width: int, world: str = "studio", workers: int | None = None
) -> Iterator:
    """As `imagpose.people.iterate_views`: an identity is a colour, a view is where its box stands."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        colour, ground = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
        made = []
        for _ in range(views):
            top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
            foreground = np.zeros((height, width), bool)
            foreground[top : top + height // 2, left : left + width // 2] = True
            picture = np.where(foreground[..., None], colour, ground).astype(np.uint8)
            keypoints = np.zeros((18, 3), np.float32)
            keypoints[:, 0] = left + rng.uniform(0, width // 2, 18)
            keypoints[:, 1] = top + rng.uniform(0, height // 2, 18)
            keypoints[:, 2] = 1.0
            made.append(
                SimpleNamespace(
                    picture=picture,
                    foreground=foreground,
                    parts=np.where(foreground, rng.integers(1, 7, (height, width)), 0).astype(np.uint8),
                    surface=np.where(foreground[..., None], rng.normal(size=(height, width, 3)), 0).astype(np.float16),
                    pose=SimpleNamespace(keypoints=keypoints),
                    spec=SimpleNamespace(yaw=float(rng.uniform(-180, 180))),
                )
            )
        yield seed, made


def cache_values(folder: Path, first_seed: int = 0, identities: int = 8) -> dict:
    """`ViewCacheConfig` as YAML values."""
    return {
        "folder": str(folder),
        "first_seed": first_seed,
        "identities": identities,
        "views": VIEWS,
        "height": HEIGHT,
        "width": WIDTH,
        "block": BLOCK,
    }


def values_of_run(folder: Path) -> dict:
    """YAML values that every stage's run needs; caches and output in `folder`."""
    return {
        "output": str(folder / "run"),
        "data": cache_values(folder / "train"),
        "validation": cache_values(folder / "validation", first_seed=1_000_000, identities=4),
        "seed": 3,
        "steps": 6,
        "batch_size": 2,
        "threads": 1,
        "precision": "fp32",
        "learning_rate": 1e-3,
        "lr_schedule": "constant",
        "log_every": 10,
        "validate_every": 100,
        "sample_every": 100,
        "checkpoint_every": 3,
    }


def without_people(values: dict) -> dict:
    """YAML values of a run that has no data of its own."""
    return {key: value for key, value in values.items() if key not in ("data", "validation")}
