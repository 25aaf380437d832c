"""From files to the measures that need no network; without torch, for processes that start fast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagpose.evaluation.store import Files
from imagpose.metrics.colour import part_colour_errors
from imagpose.metrics.detail import detail_correlation, gradient_energy
from imagpose.metrics.field import cubic_resize, field_ssim, field_ssim_window
from imagpose.metrics.pixels import psnr, ssim
from imagpose.people.outfit import PART_NAMES
from imagpose.pictures import load_picture

BODY_PARTS = PART_NAMES[1:]
"""Parts whose colours are compared: all but the ground."""
_OF_PERSON = ("ssim_mask", "psnr_mask", "gradient", "gradient_real", "detail")
CLEAN_PIXELS = ("ssim", "psnr", *_OF_PERSON, "colour", *(f"colour_{part}" for part in BODY_PARTS))
FIELD_PIXELS = ("ssim", "ssim_51", "psnr")


def read_rgb(path: Path | None) -> np.ndarray:
    """uint8 (H, W, 3) of a file.

    Raises:
        FileNotFoundError, ValueError: as `load_picture`.
    """
    return np.asarray(load_picture(path))


def clean_pixels(items: Sequence[Files]) -> np.ndarray:
    """Measures `CLEAN_PIXELS` of (generated, reference, mask or None, part map or None), float64 (n, k).

    NaN where a mask or a part map is needed and absent, and for parts that are too small.

    Raises:
        ValueError: a damaged picture, a mask that marks no pixel, or sizes that differ.
    """
    return np.array([_clean(*item) for item in items], np.float64)


def _clean(generated: Path | None, reference: Path | None, mask: Path | None, parts: Path | None) -> list[float]:
    picture, truth = read_rgb(generated), read_rgb(reference)
    if picture.shape != truth.shape:
        raise ValueError(f"{generated}: {picture.shape[1]}x{picture.shape[0]} pixels, another size than {reference}")
    whole = [ssim(picture, truth), psnr(picture, truth)]
    return whole + _of_person(picture, truth, mask) + _colour_errors(picture, truth, parts)


def _of_person(picture: np.ndarray, truth: np.ndarray, mask: Path | None) -> list[float]:
    if mask is None:
        return [np.nan] * len(_OF_PERSON)
    marked = read_mask(mask, truth)
    energies = gradient_energy(picture, marked), gradient_energy(truth, marked)
    detail = detail_correlation(picture, truth, marked)
    return [ssim(picture, truth, marked), psnr(picture, truth, marked), *energies, detail]


def _colour_errors(picture: np.ndarray, truth: np.ndarray, file: Path | None) -> list[float]:
    """Their mean over the parts that are large enough, then each of `BODY_PARTS`."""
    if file is None:
        return [np.nan] * (1 + len(BODY_PARTS))
    parts = read_rgb(file)[..., 0]
    if parts.shape != truth.shape[:2] or parts.max() > len(BODY_PARTS):
        raise ValueError(f"{file}: a part map must have the size of its reference and values up to {len(BODY_PARTS)}")
    errors = part_colour_errors(picture, truth, parts)
    mean = float(np.mean(list(errors.values()))) if errors else np.nan
    return [mean, *(errors.get(1 + number, np.nan) for number in range(len(BODY_PARTS)))]


def read_mask(file: Path, reference: np.ndarray) -> np.ndarray:
    """A mask as bool (H, W).

    Raises:
        FileNotFoundError, ValueError: as `load_picture`; another size than the reference (H, W, 3), or no pixel marked.
    """
    marked = read_rgb(file)[..., 0] > 127
    if marked.shape != reference.shape[:2] or not marked.any():
        raise ValueError(f"{file}: a mask must have the size of its reference and mark pixels (lighter than 127)")
    return marked


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
