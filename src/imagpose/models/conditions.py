"""What the conditions mean: the one place that training and inference share."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from diffusers.models.embeddings import get_timestep_embedding

from imagpose.views import ViewGrid, tile


def image_condition(
    latents: torch.Tensor, mask: torch.Tensor, stand_ins: torch.Tensor, grid: ViewGrid, in_channels: int
) -> torch.Tensor:
    """F_I, the part of the UNet's input that does not depend on the timestep: masked latents, then mask (paper §3.3).

    Args:
        latents: (b, v, c, h, w) clean latents; only those of visible slots are used.
        mask: (b, v), 1 = visible source, 0 = masked target.
        stand_ins: latents that stand in masked slots: of the black view (c, h, w), or what broadcasts to `latents`.
        grid: the view grid.
        in_channels: of the UNet: 2c + 1; c + 1 without masked latents (B0, B1, B2); c without any (M1).

    Returns:
        (b, in_channels - c, rows * h, cols * w).

    Raises:
        ValueError: another number of channels.
    """
    channels = latents.shape[2]
    if in_channels not in (channels, channels + 1, 2 * channels + 1):
        raise ValueError(
            f"the UNet has {in_channels} input channels; with {channels} latent channels {2 * channels + 1},"
            f" {channels + 1} (no masked latents) or {channels} (M1) are expected"
        )
    visible = mask.to(latents.dtype)[:, :, None, None, None]
    masked = torch.where(visible > 0, latents, stand_ins.to(latents.dtype))
    parts = torch.cat([masked, visible.expand(-1, -1, 1, *latents.shape[-2:])], dim=2)
    # Of F_I all c + 1 channels, the mask alone (Table 2: B0 to B2), or none (Table 7: M1).
    return tile(parts[:, :, 2 * channels + 1 - in_channels :] if in_channels > channels else parts[:, :, :0], grid)


def unet_input(
    noisy: torch.Tensor,
    latents: torch.Tensor,
    mask: torch.Tensor,
    stand_ins: torch.Tensor,
    grid: ViewGrid,
    in_channels: int,
) -> torch.Tensor:
    """Joint canvases as the UNet takes them: noise latents, then F_I; arguments and errors as `image_condition`.

    Args:
        noisy: (b, v, c, h, w) latents with noise.

    Returns:
        (b, in_channels, rows * h, cols * w), in the dtype of `noisy`.
    """
    image = image_condition(latents.to(noisy.dtype), mask, stand_ins, grid, in_channels)
    return torch.cat([tile(noisy, grid), image], dim=1)


def noise_from(noise: torch.Tensor, latents: torch.Tensor, shown: torch.Tensor, scheduler: Any) -> torch.Tensor:
    """Noise (b, v, c, h, w) whose mean leads from what F_I shows to the picture.

    With x the latents, y those that F_I shows, e the noise, and A and S signal and deviation of the schedule's last level:

        e' = e + (y - x) A / S,  so that  A x + S e' = A y + S e  and  (a x + s e') / a = x + (s / a) e'

    So sampling can start from the views that F_I shows, with noise, and needs no x for it. The way from there to x is
    straight in s / a: Eq. 4 with e' in place of e teaches it, and DDIM takes it. In visible slots y = x and e' = e. Source:
    own; such ways between pairs that belong together are Albergo et al., "Stochastic interpolants with data-dependent
    couplings", ICML 2024.

    Args:
        noise, latents: (b, v, c, h, w), standard normal and clean.
        shown: F_I's latents, the sources' where they are visible, or what broadcasts to that.
        scheduler: its last level is not pure noise.
    """
    kept = float(scheduler.alphas_cumprod[-1])
    return noise + (shown - latents) * sqrt(kept / (1 - kept))


def linear_velocity(scheduler: Any, spread: float) -> torch.Tensor:
    """What predicts the velocity best as alpha x_t + beta y, y what F_I shows and sampling starts from: (T, 2), by timestep.

    With x = y + r, r of standard deviation `spread` and apart from y, and e' as in `noise_from`, k = A / S:

        z = x_t - a y = g r + s e,  g = a - s k;     v = a e - (a k + s) r - s y
        v = c z - s y  best for  c = (a s - (a k + s) g spread^2) / (g^2 spread^2 + s^2);  alpha = c, beta = -s - c a

    At the last level g = 0: the prediction stands for x = y. At the first it is k (y - x_t).
    """
    kept = scheduler.alphas_cumprod.double()
    a, s = kept.sqrt(), (1 - kept).sqrt()
    k = a[-1] / s[-1]
    g, h = a - s * k, a * k + s
    c = (a * s - h * g * spread**2) / (g.square() * spread**2 + s.square())
    return torch.stack([c, -s - c * a], dim=1).float()


def check_start(in_channels: int, latent_channels: int, scheduler: Any) -> None:
    """Raises `ValueError` if sampling cannot start from what F_I shows."""
    if in_channels != 2 * latent_channels + 1:
        raise ValueError("start_from image_condition needs a UNet that sees masked latents")
    if scheduler.config.get("rescale_betas_zero_snr"):
        raise ValueError(
            "start_from image_condition needs a schedule without zero_terminal_snr: nothing is left of F_I in pure noise"
        )


def null_features(features: torch.Tensor) -> torch.Tensor:
    """The null feature-level condition: zeros in place of F_C (b, n + m, d), learned through dropout."""
    return torch.zeros_like(features)


def guidance_embedding(unet: Any, scale: float | torch.Tensor) -> torch.Tensor | None:
    """The UNet's `timestep_cond` (b, d) for a scale of guidance or for one per canvas (b,); None if it takes none.

    Sines and cosines of 1000 (scale - 1). Source: Meng et al., "On distillation of guided diffusion models", 2023; as in
    diffusers' latent consistency pipelines.
    """
    width = unet.config.time_cond_proj_dim
    if width is None:
        return None
    scales = torch.as_tensor(scale, dtype=torch.float32, device=unet.device).reshape(-1)
    embedding: torch.Tensor = get_timestep_embedding(1000 * (scales - 1), width, downscale_freq_shift=1)
    return embedding.to(unet.dtype)
