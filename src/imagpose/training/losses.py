"""Losses and measures of reconstructions that need no downloaded network."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from skimage.metrics import structural_similarity

from imagpose.training.configs import ReconstructionConfig


def weighted_l1(output: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of |output - truth| of two batches of pictures (b, c, H, W); weights (b, 1, H, W)."""
    return ((output - truth).abs().mean(1, keepdim=True) * weights).sum() / weights.sum()


def gradient_loss(
    output: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None, levels: int = 3
) -> torch.Tensor:
    """L1 between first differences of two batches of pictures (b, c, H, W), mean over `levels` halvings of size.

    Differences of neighbours weight edges, where a plain L1 is content with a blur; the halvings reach wider edges. With
    weights (b, 1, H, W) it is a weighted mean; a difference has the weight of its left or upper pixel. Source: own.
    """
    losses = []
    difference = output - truth
    weights = torch.ones_like(truth[:, :1]) if weights is None else weights
    for _ in range(levels):
        for axis in (-1, -2):
            length = difference.shape[axis] - 1
            steps, own = difference.diff(dim=axis).abs().mean(1, keepdim=True), weights.narrow(axis, 0, length)
            losses.append((steps * own).sum() / own.sum())
        difference, weights = F.avg_pool2d(difference, 2), F.avg_pool2d(weights, 2)
    return torch.stack(losses).sum() / levels


def colour_loss(output: torch.Tensor, truth: torch.Tensor, cell: int = 4) -> torch.Tensor:
    """Squared error of two batches of pictures (b, c, H, W) averaged over cells of `cell` x `cell` pixels.

    With four latent channels an autoencoder first spends them on edges in grey; large areas of wrong colour must cost more
    than they do in a mean over pixels. Source: own.
    """
    return F.avg_pool2d(output - truth, cell).square().mean()


def ssim(output: torch.Tensor, truth: torch.Tensor, window: int = 7, data_range: float = 2.0) -> torch.Tensor:
    """Mean structural similarity of two batches of pictures (b, c, H, W), differentiable.

    Uniform window and unbiased covariances, as `skimage.metrics.structural_similarity` by default.
    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    samples = window * window
    unbiased = samples / (samples - 1)
    mean_o, mean_t = F.avg_pool2d(output, window, 1), F.avg_pool2d(truth, window, 1)
    variance_o = unbiased * (F.avg_pool2d(output * output, window, 1) - mean_o * mean_o)
    variance_t = unbiased * (F.avg_pool2d(truth * truth, window, 1) - mean_t * mean_t)
    covariance = unbiased * (F.avg_pool2d(output * truth, window, 1) - mean_o * mean_t)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_o * mean_t + c1) / (mean_o**2 + mean_t**2 + c1)
    structure = (2 * covariance + c2) / (variance_o + variance_t + c2)
    return (luminance * structure).mean()


def reconstruction_loss(
    output: torch.Tensor, truth: torch.Tensor, config: ReconstructionConfig
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """L1 + multi-scale gradients + colour + (1 - SSIM), weighted as the configuration says; the sum and its parts."""
    absolute = F.l1_loss(output, truth)
    gradient = gradient_loss(output, truth)
    colour = colour_loss(output, truth)
    similarity = ssim(output, truth)
    loss = (
        absolute
        + config.gradient_weight * gradient
        + config.colour_weight * colour
        + config.ssim_weight * (1.0 - similarity)
    )
    scalars = {"l1": absolute, "gradient": gradient, "colour": colour, "ssim": similarity}
    return loss, {name: value.detach() for name, value in scalars.items()}


def psnr_and_ssim(output: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """Mean PSNR (dB) and SSIM (scikit-image) of 8-bit pictures uint8 (b, H, W, 3)."""
    error = (output.double() - truth.double()).square().mean(dim=(1, 2, 3)).clamp(min=1e-3)
    psnr = (10 * torch.log10(255.0**2 / error)).mean()
    similarities = [
        structural_similarity(one, other, channel_axis=-1, data_range=255)
        for one, other in zip(output.numpy(), truth.numpy(), strict=True)
    ]
    return float(psnr), float(np.mean(similarities))
