"""Means of all picture measures over a batch in memory, for what watches a training run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from imagpose.metrics.colour import part_colour_errors
from imagpose.metrics.detail import detail_correlation, gradient_energy
from imagpose.metrics.pixels import psnr, ssim
from imagpose.pixels import bytes_to_signed


def measure_pictures(
    outputs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    parts: Sequence[np.ndarray] | None = None,
    sources: Sequence[np.ndarray] | None = None,
    reconstructions: Sequence[np.ndarray] | None = None,
) -> dict[str, float]:
    """Means over n pictures of the measures that a blur fails, and of PSNR and SSIM.

    Args:
        outputs, truths: n pictures uint8 (H, W, 3) of one size, in the same order.
        masks: n masks bool (H, W) of the truths, each with pixels of the person.
        parts: n part maps uint8 (H, W) of the truths; None leaves `colour_error` out.
        sources: what each output was made from, as `truths`; None leaves `feature_distance_copy` out.
        reconstructions: the truths through the autoencoder, likewise for `feature_distance_autoencoder`.

    Returns:
        ``gradient_ratio`` (mean gradient energy, outputs over truths; 1 is right, less is blurred),
        ``detail_correlation`` (higher is better), ``colour_error`` (dE76, mean over parts, then pictures),
        ``feature_distance_copy`` and ``feature_distance_autoencoder`` (mean distance of the outputs over that of the
        sources, of the reconstructions; lower is better; left out with a warning without EfficientNet's weights),
        ``psnr_mask`` (dB) and ``ssim_mask``.

    Raises:
        ValueError: no picture, other numbers or sizes, other types, or a mask that marks nothing.
    """
    known = {"copy": sources, "autoencoder": reconstructions}
    beside = {name: pictures for name, pictures in known.items() if pictures is not None}
    _check(outputs, truths, masks, {"parts": parts, **beside})
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
    return means | _feature_ratios(outputs, truths, masks, beside)


def _feature_ratios(
    outputs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    beside: Mapping[str, Sequence[np.ndarray]],
) -> dict[str, float]:
    """``feature_distance_<name>`` of what the outputs are compared with; empty without the network's weights."""
    import torch

    from imagpose.metrics.perceptual import feature_distance, load_efficientnet

    if not beside:
        return {}
    try:
        load_efficientnet()
    except ValueError as error:
        warnings.warn(f"feature distances are left out: {error}", stacklevel=3)
        return {}

    def mean_distance(pictures: Sequence[np.ndarray]) -> float:
        pixels, true = (bytes_to_signed(np.stack(own)) for own in (pictures, truths))
        return float(feature_distance(pixels, true, torch.from_numpy(np.stack(masks))).mean())

    of_outputs = mean_distance(outputs)
    return {f"feature_distance_{name}": of_outputs / mean_distance(pictures) for name, pictures in beside.items()}


def _check(
    outputs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    others: Mapping[str, Sequence[np.ndarray] | None],
) -> None:
    """Sees that all agree; of `others` "parts" are maps, the rest pictures."""
    given = {"outputs": outputs, "truths": truths, "masks": masks}
    given |= {name: own for name, own in others.items() if own is not None}
    counts = {name: len(own) for name, own in given.items()}
    if len(set(counts.values())) > 1 or not len(outputs):
        raise ValueError(f"as many of each expected, at least one: {counts}")
    size = truths[0].shape[:2]
    for name, arrays in given.items():
        flat = name in ("masks", "parts")
        kind, shape = (bool if name == "masks" else np.uint8), (size if flat else (*size, 3))
        for number, own in enumerate(arrays):
            if own.shape != shape or own.dtype != kind:
                wanted = f"{np.dtype(kind)} {shape}, as the first truth has it,"
                raise ValueError(f"{name}[{number}] is {own.dtype} {own.shape}; {wanted} expected")
    empty = [number for number, mask in enumerate(masks) if not mask.any()]
    if empty:
        raise ValueError(f"masks[{empty[0]}] marks no pixel; it must mark the person")


def _mean(values: Sequence[float]) -> float:
    """Mean of the values that are there; NaN where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
