"""Measures between a picture and the truth, on 8-bit pictures of one size: the clean protocol's, as the libraries do."""

from __future__ import annotations

import math

import numpy as np
from skimage.metrics import structural_similarity


def psnr(picture: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(255^2 / mean squared error over pixels and channels).

    Args:
        picture, truth: uint8, or floats in the units of 8 bits, (H, W, 3).
        where: a mask, bool (H, W), in which it is measured; everywhere if not given.

    Returns:
        The ratio; 60 at most, so that a single perfect picture does not decide a mean.
    """
    one, other = (own if where is None else own[where] for own in (picture, truth))
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 60.0 if error == 0 else min(60.0, 10 * math.log10(255.0**2 / error))


def ssim(picture: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Structural similarity with a Gaussian window of 1.5 pixels, mean over the channels and over a mask.

    A mask selects from the map of the whole picture, so that windows at its border see what is outside.
    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, with its
    constants; scikit-image's implementation.

    Args:
        picture, truth: uint8 (H, W, 3).
        where: a mask, bool (H, W), over which it is averaged; if not given, scikit-image's own mean, which
            leaves out a border of 5 pixels.
    """
    mean, full = structural_similarity(
        picture, truth, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    return float(mean if where is None else full[where].mean())


def mask_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks, bool (H, W); 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0
