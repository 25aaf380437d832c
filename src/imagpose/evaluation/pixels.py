"""From files to the measures that need no network; without torch, for processes that start fast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagpose.evaluation.field_metrics import cubic_resize, field_ssim, field_ssim_window
from imagpose.evaluation.parts import Files
from imagpose.metrics.pixels import psnr, ssim
from imagpose.pictures import load_picture

__all__ = ["CLEAN_PIXELS", "FIELD_PIXELS", "clean_pixels", "field_pixels", "read_field_pair", "read_rgb"]

CLEAN_PIXELS = ("ssim", "psnr", "ssim_mask", "psnr_mask")
FIELD_PIXELS = ("ssim", "ssim_51", "psnr")


def read_rgb(path: Path | None) -> np.ndarray:
    """uint8 (H, W, 3) of a file.

    Raises:
        FileNotFoundError, ValueError: as `load_picture`.
    """
    return np.asarray(load_picture(path))


def clean_pixels(items: Sequence[Files]) -> np.ndarray:
    """Measures `CLEAN_PIXELS` of (generated, reference, mask or None), float64 (n, 4); NaN without a mask.

    Raises:
        ValueError: a damaged picture, a mask that marks no pixel, or sizes that differ.
    """
    return np.array([_clean(*item) for item in items], np.float64)


def _clean(generated: Path | None, reference: Path | None, mask: Path | None) -> tuple[float, ...]:
    picture, truth = read_rgb(generated), read_rgb(reference)
    if picture.shape != truth.shape:
        raise ValueError(f"{generated}: {picture.shape[1]}x{picture.shape[0]} pixels, another size than {reference}")
    whole = ssim(picture, truth), psnr(picture, truth)
    if mask is None:
        return *whole, np.nan, np.nan
    marked = read_rgb(mask)[..., 0] > 127
    if marked.shape != truth.shape[:2] or not marked.any():
        raise ValueError(f"{mask}: a mask must have the size of its reference and mark pixels (lighter than 127)")
    return *whole, ssim(picture, truth, marked), psnr(picture, truth, marked)


def field_pixels(items: Sequence[Files]) -> np.ndarray:
    """Measures `FIELD_PIXELS` of (generated, reference), float64 (n, 3); generated ones resized where they differ.

    Raises:
        ValueError: a damaged picture.
    """
    pairs = (read_field_pair(generated, reference) for generated, reference in items)
    return np.array([(field_ssim(*pair), field_ssim_window(*pair), psnr(*pair)) for pair in pairs], np.float64)


def read_field_pair(generated: Path | None, reference: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """A generated picture and its reference, float32 (H, W, 3) in 0..255, of the reference's size."""
    truth = read_rgb(reference).astype(np.float32)
    return cubic_resize(read_rgb(generated), *truth.shape[:2]), truth
