"""The field's measures: what the evaluation script behind the published tables computes, its oddities included.

Source: PCDMs' `metrics.py`, to which IMAGPose's author refers for its numbers. Pictures are read as 8-bit RGB, turned
into floats and only then resized; nothing is clipped.
"""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

WINDOW = 51  # side of the uniform window, pixels


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
    import torch  # here, so that processes start fast where nothing is resized

    pixels = torch.from_numpy(picture).double().movedim(-1, 0)[None]  # in float32 torch misplaces pixels by 1e-4
    # torch's kernel is OpenCV's (parameter -0.75; Pillow and scikit-image have -0.5), and so are its edges.
    resized = torch.nn.functional.interpolate(pixels, size=(height, width), mode="bicubic", align_corners=False)
    return resized[0].movedim(0, -1).float().contiguous().numpy()
