"""Pixels to scaled latents and back, the same for training and inference."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL

__all__ = ["decode_latents", "encode_latents"]


def encode_latents(vae: AutoencoderKL, pixels: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Scaled latents (b, 4, H / 8, W / 8) of pixels (b, 3, H, W) in [-1, 1], in the VAE's dtype.

    Without a generator the mean of the posterior is taken, with one a sample.
    """
    posterior = vae.encode(pixels.to(vae.dtype)).latent_dist
    latents = posterior.mode() if generator is None else posterior.sample(generator)
    return latents * vae.config.scaling_factor


def decode_latents(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Pixels (b, 3, H, W), about [-1, 1], of scaled latents (b, 4, H / 8, W / 8), in the VAE's dtype."""
    return vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
