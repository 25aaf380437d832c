"""How much fine structure a picture has, and whether it is the right one: what a blur loses and PSNR and SSIM hardly see.

Luminance is Rec. 601's luma of the 8-bit values, Y' = 0.299 R' + 0.587 G' + 0.114 B'. Source: own.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

_REC_601 = np.array([0.299, 0.587, 0.114])
_BAND = (1.0, 4.0)  # pixels: sigmas of the Gaussians between which detail lies


def luminance(picture: np.ndarray) -> np.ndarray:
    """Luma (H, W), float64 in 0..255, of an RGB picture uint8 (H, W, 3)."""
    luma: np.ndarray = picture @ _REC_601
    return luma


def gradient_energy(picture: np.ndarray, mask: np.ndarray) -> float:
    """Mean magnitude of the luminance's gradient over a mask, in grey levels per pixel.

    Forward differences: |g|(y, x) = sqrt((Y(y+1, x) - Y(y, x))^2 + (Y(y, x+1) - Y(y, x))^2); the last row and the last
    column have none. The ratio output / truth is 1 for the truth, .60 after a blur of sigma 1.5 (rendered people).

    Args:
        picture: uint8 (H, W, 3).
        mask: bool (H, W), of the truth.

    Returns:
        The mean; NaN where the mask marks nothing.
    """
    grey = luminance(picture)
    down, right = grey[1:, :-1] - grey[:-1, :-1], grey[:-1, 1:] - grey[:-1, :-1]
    marked = np.hypot(down, right)[mask[:-1, :-1]]
    return float(marked.mean()) if marked.size else float("nan")


def detail_correlation(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Pearson correlation, inside a mask, of the luminance of picture and truth, band-passed: G_1 * Y - G_4 * Y.

    Contrast and brightness do not matter, places do: a sharp picture of the wrong folds has about 0.

    Args:
        picture, truth: uint8 (H, W, 3).
        mask: bool (H, W), of the truth.

    Returns:
        -1..1; 0 where one of them is flat, so that a grey picture shows none of the detail; NaN where the mask marks
        fewer than two pixels or the truth itself is flat.
    """
    if np.count_nonzero(mask) < 2:
        return float("nan")
    one, other = (_band(own)[mask] for own in (picture, truth))
    one, other = one - one.mean(), other - other.mean()
    spread, spread_of_truth = np.linalg.norm(one), np.linalg.norm(other)
    if spread_of_truth < 1e-6:
        return float("nan")
    return float(one @ other / (spread * spread_of_truth)) if spread >= 1e-6 else 0.0


def _band(picture: np.ndarray) -> np.ndarray:
    """The luminance between the two Gaussians, (H, W); edges reflected."""
    grey = luminance(picture)
    fine, coarse = (gaussian_filter(grey, sigma) for sigma in _BAND)
    band: np.ndarray = fine - coarse
    return band
