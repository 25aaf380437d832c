"""From latents of canvases to the views that a call returns, in the form that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL

from imagpose.models.autoencoder import decode_latents
from imagpose.pipeline.canvases import CanvasJob
from imagpose.pipeline.conditions import in_parts
from imagpose.pipeline.finite import check_decoded
from imagpose.pixels import Padding, signed_to_pictures, signed_to_unit
from imagpose.views import tile, untile

OUTPUT_TYPES = ("pil", "np", "pt", "latent")


@dataclass(frozen=True, eq=False)
class CanvasDecoder:
    """Decodes the views of canvases a few at a time; only those that are returned where the VAE sees single views.

    Attributes:
        vae: the network.
        vae_scope: "view": each view is decoded alone; "joint": whole canvases are.
        padding: of the views, taken off again.
        output_type: `"pil"`, `"np"`, `"pt"` or `"latent"`, see `IMAGPosePipelineOutput`.
        return_canvases: whether whole canvases are returned too.

    Raises:
        ValueError: the output type is none of `OUTPUT_TYPES`.
    """

    vae: AutoencoderKL
    vae_scope: str
    padding: Padding
    output_type: str
    return_canvases: bool

    def __post_init__(self) -> None:
        if self.output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {self.output_type!r}")

    def __call__(self, part: list[CanvasJob], latents: torch.Tensor) -> tuple[list[Any], list[Any]]:
        """Per canvas the views that are returned, and itself where asked for (`None` elsewhere).

        Args:
            part: n canvases of one grid.
            latents: (n, c, rows*h, cols*w).

        Raises:
            FloatingPointError: pixels are not finite.
        """
        grid = part[0].request.plan.grid
        views = untile(latents, grid)
        if self.output_type == "latent":
            return _chosen(views, part), list(torch.split(latents, 1))
        if self.vae_scope == "joint":
            canvas = self._decode(in_parts(latents, grid.num_views))
            views = self.padding.crop(untile(canvas, grid)).float()
        elif self.return_canvases:
            views = torch.unflatten(self._decode_views(views.flatten(0, 1)), 0, views.shape[:2])
        else:
            decoded = self._decode_views(torch.cat(_chosen(views, part)))
            pictures = torch.split(decoded, [len(job.slots) for job in part])
            return [self._output(own) for own in pictures], [None] * len(part)
        canvases = [self._output(own) if self.return_canvases else None for own in tile(views, grid)[:, None]]
        return [self._output(own) for own in _chosen(views, part)], canvases

    def _decode(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Pixels of views or canvases, in the VAE's dtype."""
        pixels = torch.cat([decode_latents(self.vae, own) for own in parts])
        check_decoded(pixels, self.vae)
        return pixels

    def _decode_views(self, latents: torch.Tensor) -> torch.Tensor:
        """Pixels (n, 3, H, W), float32, of latents (n, c, h, w) of padded views."""
        return self.padding.crop(self._decode(in_parts(latents))).float()

    def _output(self, pixels: torch.Tensor) -> Any:
        """Pixels (n, 3, H, W) in [-1, 1] as `output_type`."""
        if self.output_type == "pil":
            return signed_to_pictures(pixels)
        unit = signed_to_unit(pixels).clamp(0, 1)
        return unit if self.output_type == "pt" else unit.movedim(1, -1).cpu().numpy()


def _chosen(views: torch.Tensor, part: list[CanvasJob]) -> list[torch.Tensor]:
    """Per canvas the views that are returned, out of all (n, v, ...)."""
    return [own[job.slots] for own, job in zip(views, part, strict=True)]
