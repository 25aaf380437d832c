"""What a request will look like, from latents in the middle of sampling."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from imagpose.models.autoencoder import decode_latents
from imagpose.pipeline.pipeline import IMAGPosePipeline
from imagpose.pixels import Padding, signed_to_pictures
from imagpose.views import ViewGrid, untile


def clean_latents(scheduler: Any, step: int, before: torch.Tensor | None, after: torch.Tensor) -> torch.Tensor:
    """The latents without noise that a step of deterministic DDIM pointed at, from those before and after it.

    Both are x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e of one x_0 and e, two equations with two unknowns. Source: Song et al.,
    "Denoising diffusion implicit models", 2021, Eq. 12 with sigma 0.

    Args:
        scheduler: of the pipeline, with the timesteps of the call.
        step: number of the step.
        before, after: latents of any shape; `before` None: not known.

    Returns:
        x_0; of the first step, whose `before` no callback sees, and of other schedulers `after` itself.
    """
    if before is None or type(scheduler).__name__ != "DDIMScheduler":
        return after
    timesteps = scheduler.timesteps
    last = step + 1 >= len(timesteps)
    start = scheduler.alphas_cumprod[timesteps[step]]
    end = scheduler.final_alpha_cumprod if last else scheduler.alphas_cumprod[timesteps[step + 1]]
    start_signal, end_signal = float(start) ** 0.5, float(end) ** 0.5
    start_noise, end_noise = (1 - float(start)) ** 0.5, (1 - float(end)) ** 0.5
    weight = end_signal * start_noise - start_signal * end_noise
    clean: torch.Tensor = (after * start_noise - before * end_noise) / weight
    return clean


def preview_views(
    pipeline: IMAGPosePipeline,
    latents: torch.Tensor,
    grid: ViewGrid,
    places: list[tuple[int, int]],
    size: tuple[int, int],
) -> list[Image.Image]:
    """Pictures of some views.

    Args:
        latents: of canvases (n, c, rows*h, cols*w).
        places: canvas and slot of each view.
        size: height and width of the pictures.
    """
    views = untile(latents, grid)
    chosen = torch.stack([views[canvas, slot] for canvas, slot in places])
    padding = Padding.to_multiple(*size, pipeline.view_multiple)
    return signed_to_pictures(padding.crop(decode_latents(pipeline.vae, chosen)).float())
