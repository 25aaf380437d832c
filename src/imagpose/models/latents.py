"""Pixels to scaled latents and back, the same for training and inference."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL

__all__ = ["decode_latents", "encode_latents", "spatial_factor"]


def spatial_factor(vae: AutoencoderKL) -> int:
    """Pixels along a side of a picture per latent: 2 per halving, times the side of a patch where the VAE has patches."""
    return 2 ** (len(vae.config.block_out_channels) - 1) * vae.config.get("patch_size", 1)


def encode_latents(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Scaled latents (b, c, H / f, W / f) of pixels (b, 3, H, W) in [-1, 1], in the VAE's dtype; f is `spatial_factor`.

    They are the posterior's mean: a picture has the same latents in a cache, in training and in a request.
    """
    return vae.encode(pixels.to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor


def decode_latents(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Pixels (b, 3, H, W), about [-1, 1], of scaled latents (b, c, H / f, W / f), in the VAE's dtype."""
    return vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
