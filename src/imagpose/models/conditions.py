"""What the conditions mean: the one place that training and inference share."""

from __future__ import annotations

import torch

from imagpose.views import ViewGrid, tile

__all__ = ["null_features", "unet_input"]


def unet_input(
    noisy: torch.Tensor,
    latents: torch.Tensor,
    mask: torch.Tensor,
    black: torch.Tensor,
    grid: ViewGrid,
    in_channels: int,
) -> torch.Tensor:
    """Joint canvases as the UNet takes them: noise latents, masked latents, mask (paper §3.3, in this order).

    Args:
        noisy: (b, v, c, h, w) latents with noise; c is 4 for Stable Diffusion.
        latents: (b, v, c, h, w) clean latents; only those of visible slots are used.
        mask: (b, v), 1 = visible source, 0 = masked target.
        black: latents of the black view, which stand in masked slots: (c, h, w), or what broadcasts to `latents`.
        grid: the view grid.
        in_channels: 2c + 1; c + 1 without masked latents (B0, B1, B2); c without image-level condition (M1).

    Returns:
        (b, in_channels, rows * h, cols * w).

    Raises:
        ValueError: another number of channels.
    """
    channels = noisy.shape[2]
    parts = [noisy]
    visible = mask.to(noisy.dtype)[:, :, None, None, None]
    if in_channels == 2 * channels + 1:
        parts.append(torch.where(visible > 0, latents, black.to(noisy.dtype)).to(noisy.dtype))
    if in_channels in (channels + 1, 2 * channels + 1):
        parts.append(visible.expand(-1, -1, 1, *noisy.shape[-2:]))
    elif in_channels != channels:
        raise ValueError(
            f"the UNet has {in_channels} input channels; with {channels} latent channels {2 * channels + 1},"
            f" {channels + 1} (no masked latents) or {channels} (M1) are expected"
        )
    return tile(torch.cat(parts, dim=2), grid)


def null_features(features: torch.Tensor) -> torch.Tensor:
    """The null feature-level condition: zeros in place of F_C (b, n + m, d), learned through dropout."""
    return torch.zeros_like(features)
