"""Means of all picture measures over a batch in memory, for what watches a training run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imagpose.metrics.colour import part_colour_errors
from imagpose.metrics.detail import detail_correlation, gradient_energy
from imagpose.metrics.pixels import psnr, ssim

__all__ = ["measure_pictures"]


def measure_pictures(
    outputs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    parts: Sequence[np.ndarray] | None = None,
) -> dict[str, float]:
    """Means over n pictures of the measures that a blur fails, and of PSNR and SSIM.

    Args:
        outputs, truths: n pictures uint8 (H, W, 3), in the same order.
        masks: n masks bool (H, W) of the truths, each with pixels of the person.
        parts: n part maps uint8 (H, W) of the truths; None leaves `colour_error` out.

    Returns:
        ``gradient_ratio`` (mean gradient energy, outputs over truths; 1 is right, less is blurred),
        ``detail_correlation`` (higher is better), ``colour_error`` (dE76, mean over parts, then pictures),
        ``psnr_mask`` (dB) and ``ssim_mask``.

    Raises:
        ValueError: no picture, other numbers or sizes, other types, or a mask that marks nothing.
    """
    _check(outputs, truths, masks, parts)
    items = list(zip(outputs, truths, masks, strict=True))
    energy = [(gradient_energy(output, mask), gradient_energy(truth, mask)) for output, truth, mask in items]
    of_outputs, of_truths = np.mean(energy, axis=0)
    means = {
        "gradient_ratio": float(of_outputs / of_truths),
        "detail_correlation": _mean([detail_correlation(*item) for item in items]),
        "psnr_mask": _mean([psnr(*item) for item in items]),
        "ssim_mask": _mean([ssim(*item) for item in items]),
    }
    if parts is not None:
        errors = [part_colour_errors(*item) for item in zip(outputs, truths, parts, strict=True)]
        means["colour_error"] = _mean([_mean(list(own.values())) for own in errors])
    return means


def _check(
    outputs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    parts: Sequence[np.ndarray] | None,
) -> None:
    counts = {"outputs": len(outputs), "truths": len(truths), "masks": len(masks)}
    counts |= {} if parts is None else {"parts": len(parts)}
    if len(set(counts.values())) > 1 or not len(outputs):
        raise ValueError(f"as many of each expected, at least one: {counts}")
    for number, (output, truth, mask) in enumerate(zip(outputs, truths, masks, strict=True)):
        if (
            output.dtype != np.uint8
            or truth.dtype != np.uint8
            or output.shape != truth.shape
            or output.shape[2:] != (3,)
        ):
            raise ValueError(
                f"picture {number}: output {output.shape} {output.dtype}, truth {truth.shape} {truth.dtype};"
                " uint8 (H, W, 3) of one size expected"
            )
        if mask.dtype != bool or mask.shape != truth.shape[:2] or not mask.any():
            raise ValueError(f"picture {number}: the mask must be bool {truth.shape[:2]} and mark pixels")
        if parts is not None and parts[number].shape != truth.shape[:2]:
            raise ValueError(f"picture {number}: part map {parts[number].shape}, {truth.shape[:2]} expected")


def _mean(values: Sequence[float]) -> float:
    """Mean of the values that are there; NaN where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
