"""Generated pictures are softer and noisier than rendered ones: what networks that judge them are trained to bear."""

from __future__ import annotations

import torch
from torch.nn import functional

_REACH = 5  # pixels on each side that the blur mixes
_COARSEST = 3  # pixels of the coarsest picture's cells


def degrade(pixels: torch.Tensor, generator: torch.Generator, blur: bool = True) -> torch.Tensor:
    """Blur (half of the pictures), contrast, tint and noise, each picture its own.

    Args:
        pixels: (b, 3, H, W) in [-1, 1].
        generator: draws everything.
        blur: False leaves all pictures as sharp as they are.

    Returns:
        Same shape and range.
    """

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    b = len(pixels)
    blurred = _blurred(pixels, uniform(b), uniform(b)) if blur else pixels
    contrast = 1 + 0.15 * normal(b, 1, 1, 1)
    tint = 0.05 * normal(b, 3, 1, 1)
    noise = 0.05 * uniform(b, 1, 1, 1) * normal(*pixels.shape)
    return (blurred * contrast + tint + noise).clamp(-1, 1)


def _blurred(pixels: torch.Tensor, chance: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Half of the pictures, those of `chance` (b,) below 0.5, under Gaussians of `width` (b,) times 2 pixels."""
    b = len(pixels)
    sigma = torch.where(chance < 0.5, 2.0 * width, torch.zeros(b)).clamp(min=0.05)
    kernel = torch.exp(-0.5 * (torch.arange(-_REACH, _REACH + 1) / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = functional.pad(pixels, (_REACH,) * 4, mode="replicate").flatten(0, 1)[None]
    flat = functional.conv2d(flat, kernel[:, None, :, None], groups=3 * b)
    blurred: torch.Tensor = torch.unflatten(
        functional.conv2d(flat, kernel[:, None, None, :], groups=3 * b)[0], 0, (b, 3)
    )
    return blurred


def coarsen(pixels: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Some pictures (b, 3, H, W) drawn with cells of 2 or 3 pixels, as a decoder of latents leaves out what is small."""
    b, height, width = len(pixels), *pixels.shape[2:]
    cells = torch.randint(2, _COARSEST + 1, (b,), generator=generator)
    cells = torch.where(torch.rand(b, generator=generator) < probability, cells, 1)
    coarse = pixels.clone()
    for size in range(2, _COARSEST + 1):
        chosen = cells == size
        if chosen.any():
            small = functional.interpolate(
                pixels[chosen], (height // size, width // size), mode="bilinear", antialias=True, align_corners=False
            )
            coarse[chosen] = functional.interpolate(small, (height, width), mode="bicubic", align_corners=False)
    return coarse.clamp(-1, 1)
