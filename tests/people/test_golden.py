"""Stored pictures: what a seed shows must not change by accident, or caches and tables would no longer fit each other.

After a change that is meant to alter the pictures: raise `people.world.RENDERER` by one, then
python tests/people/test_golden.py
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.people import make_identity, render_view, sample_view_specs
from imagpose.people.world import RENDERER

GOLDEN = Path(__file__).parent / "golden"
SEEDS = (0, 7, 1_000_003, 2_000_011)
HEIGHT, WIDTH = 96, 72


def _row(seed: int) -> np.ndarray:
    identity = make_identity(seed)
    views = [render_view(identity, spec, HEIGHT, WIDTH).picture for spec in sample_view_specs(seed, 3)]
    return np.concatenate(views, axis=1)


def _differs(seed: int) -> bool:
    """Tolerance for other machines: rounding may move a pixel at an edge, nothing more."""
    stored = np.asarray(Image.open(GOLDEN / f"{seed}.png").convert("RGB")).astype(int)
    difference = np.abs(_row(seed).astype(int) - stored)
    return bool(difference.mean() >= 0.2 or (difference > 8).mean() >= 0.005)


def _stored_renderer() -> int:
    return int((GOLDEN / "renderer.txt").read_text())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_shows_what_it_always_showed(seed: int) -> None:
    assert not _differs(seed)


def test_the_pictures_are_those_of_this_renderer() -> None:
    assert _stored_renderer() == RENDERER


if __name__ == "__main__":
    if _stored_renderer() == RENDERER and any(_differs(seed) for seed in SEEDS):
        raise SystemExit(
            f"pictures have changed: raise people.world.RENDERER (it is {RENDERER}) first, or caches stay stale"
        )
    for seed in SEEDS:
        Image.fromarray(_row(seed)).save(GOLDEN / f"{seed}.png")
    (GOLDEN / "renderer.txt").write_text(f"{RENDERER}\n")
