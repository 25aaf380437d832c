"""A picture with fine structure of known places, and its person."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def truth() -> np.ndarray:
    """uint8 (64, 48, 3): a dark ground, in front of it a body of three colours with noise of every wavelength."""
    rng = np.random.default_rng(3)
    picture = np.full((64, 48, 3), 40.0)
    picture[8:24, 12:36] = (220, 170, 140)
    picture[24:40, 12:36] = (180, 30, 40)
    picture[40:60, 12:36] = (30, 60, 150)
    return (picture + rng.normal(0, 18, picture.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def parts() -> np.ndarray:
    """uint8 (64, 48): skin, top and bottom of 384 pixels or more; 90 pixels of shoes."""
    parts = np.zeros((64, 48), np.uint8)
    parts[8:24, 12:36], parts[24:40, 12:36], parts[40:60, 12:36] = 1, 3, 4
    parts[57:60, 12:36] = 0
    parts[57:60, 3:33] = 5
    return parts
