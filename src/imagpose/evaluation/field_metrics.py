"""The field's measures: what the evaluation script behind the published tables computes, its oddities included.

Source: PCDMs' `metrics.py`, to which IMAGPose's author refers for its numbers. Pictures are read as 8-bit RGB, turned
into floats and only then resized; nothing is clipped.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from skimage.metrics import structural_similarity

__all__ = ["WINDOW", "cubic_resize", "field_ssim", "field_ssim_window"]

WINDOW = 51  # side of the uniform window, pixels
_CUBIC = -0.75  # the kernel's parameter in OpenCV; Pillow and scikit-image use -0.5


def field_ssim(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity as printed: Gaussian window of 1.2 pixels, the prediction's own range as data range.

    The range makes it no longer symmetric, and a dull prediction is judged more strictly than a bright one.

    Args:
        prediction, truth: (H, W, 3), in the units of 8 bits.

    Returns:
        The mean over channels and pixels, without a border of 4 pixels; 0 for a prediction of one colour, whose range
        is 0 (the script itself divides by zero).
    """
    return _ssim(prediction, truth, gaussian_weights=True, sigma=1.2, use_sample_covariance=False)


def field_ssim_window(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity with a uniform window of 51 x 51 pixels: computed by the script, printed by older ones.

    Args:
        prediction, truth: (H, W, 3), in the units of 8 bits; the data range is 255.

    Returns:
        The mean over channels and pixels, without a border of 25 pixels; NaN where a side has fewer than 51 pixels.
    """
    if min(truth.shape[:2]) < WINDOW:
        return float("nan")
    return _ssim(prediction, truth, data_range=255.0, win_size=WINDOW)


def _ssim(prediction: np.ndarray, truth: np.ndarray, data_range: float | None = None, **settings: object) -> float:
    prediction, truth = prediction.astype(np.float64), truth.astype(np.float64)
    data_range = float(np.ptp(prediction)) if data_range is None else data_range
    if data_range == 0:
        return 0.0
    return float(structural_similarity(truth, prediction, data_range=data_range, channel_axis=-1, **settings))


def cubic_resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture resized as OpenCV's `INTER_CUBIC` does to floats: no antialiasing, edges replicated, not clipped.

    Args:
        picture: (H, W, 3), any number type.
        height, width: pixels of the result.

    Returns:
        float32 (height, width, 3); the values as they are where the size is already right.
    """
    picture = picture.astype(np.float32)
    if picture.shape[:2] == (height, width):
        return picture
    wide = np.einsum("ow,hwc->hoc", _weights(picture.shape[1], width), picture, optimize=True)
    return np.einsum("oh,hwc->owc", _weights(picture.shape[0], height), wide, optimize=True)


@cache
def _weights(before: int, after: int) -> np.ndarray:
    """float32 (after, before): how much each old pixel counts in each new one."""
    centres = (np.arange(after) + 0.5) * before / after - 0.5
    first = np.floor(centres).astype(int)
    weights = np.zeros((after, before), np.float32)
    for offset in (-1, 0, 1, 2):
        pixels = first + offset
        np.add.at(weights, (np.arange(after), pixels.clip(0, before - 1)), _kernel(np.abs(centres - pixels)))
    return weights


def _kernel(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel at distances of 0 to 2 pixels (Keys, 1981)."""
    a = _CUBIC
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, far)
