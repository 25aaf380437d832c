"""What the frozen networks make of views: latents, texture latents, image tokens; for a cache, or in every step.

The functions are the pipeline's own, so that a cache, an uncached step and a request see the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from transformers import BaseImageProcessor, PreTrainedModel

from imagpose.models.autoencoder import encode_latents
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.conditions import encode_image_tokens, encode_texture, encode_views
from imagpose.pixels import pad_views
from imagpose.training.denoiser.half_views import halve_pixels
from imagpose.training.stage import Batch
from imagpose.views import ViewGrid, tile, untile


@dataclass(frozen=True, eq=False)
class FrozenNetworks:
    """The networks of a pipeline that its denoiser's training leaves as they are.

    No module, so that nothing in it counts among what a stage trains, saves and copies.

    Attributes:
        view_multiple: sides of views are padded to multiples of this.
        vae_scope: "view", or "joint": the VAE sees whole canvases, as in the published code.
    """

    vae: AutoencoderKL
    image_encoder: PreTrainedModel
    image_processor: BaseImageProcessor
    view_multiple: int
    vae_scope: str = "view"

    @classmethod
    def of(cls, pipeline: IMAGPosePipeline) -> FrozenNetworks:
        """Those of a pipeline."""
        scope = pipeline.config.vae_scope
        return cls(pipeline.vae, pipeline.image_encoder, pipeline.image_processor, pipeline.view_multiple, scope)

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Latents (b, c, h, w) of pixels (b, 3, H, W) in [-1, 1], padded as the UNet needs them."""
        return encode_views(self.vae, pixels, self.view_multiple)

    def half_latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """As `latents`, of the views at half their size."""
        return self.latents(halve_pixels(pixels))

    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """F_H (b, n, d_enc) of pixels (b, 3, H, W) in [-1, 1]."""
        return encode_image_tokens(self.image_encoder, self.image_processor, pixels)

    @torch.no_grad()
    def black(self, height: int, width: int, half: bool) -> torch.Tensor:
        """Latents (c, h, w) of the black view of `height` x `width` pixels, at half its size or whole; on the CPU."""
        pixels = -torch.ones(1, 3, height, width, device=self.vae.device)
        return (self.half_latents(pixels) if half else self.latents(pixels))[0].cpu()

    @torch.no_grad()
    def encode(self, batch: Batch, feature_tokens: FeatureTokens) -> Batch:
        """The batch with latents and features in place of its pictures, if it has pictures; see `CanvasData.canvases`.

        Its ``stand_ins`` are the black view's latents (c, h, w) and become (b, v, c, h, w) where some slots have a warped
        view (`CanvasData.warped_views`).
        """
        batch = dict(batch)
        if "warped" in batch:
            batch["stand_ins"] = self._stand_ins(batch)
        if "pixels" not in batch:
            return batch
        pixels, shown = batch.pop("pixels"), batch.pop("feature_pixels")
        for network in (self.vae, self.image_encoder):
            network.to(pixels.device)
        if self.vae_scope == "joint":
            batch |= self._joint_latents(pixels, batch["mask"], batch["grid"])
        else:
            batch["latents"] = torch.unflatten(self.latents(pixels.flatten(0, 1)).float(), 0, pixels.shape[:2])
        batch["tokens"] = self.tokens(shown).float()
        if feature_tokens.config.use_texture:
            batch["textures"] = encode_texture(self.vae, feature_tokens, shown).float()
        return batch

    def _stand_ins(self, batch: Batch) -> torch.Tensor:
        black, (canvases, slots) = batch["stand_ins"], batch["warped_slots"].unbind(dim=1)
        stand_ins: torch.Tensor = black.expand(*batch["mask"].shape, *black.shape).clone()
        if len(canvases):
            self.vae.to(batch["warped"].device)
            stand_ins[canvases, slots] = self.latents(batch["warped"]).to(stand_ins.dtype)
        return stand_ins

    def _joint_latents(self, pixels: torch.Tensor, mask: torch.Tensor, grid: ViewGrid) -> Batch:
        """``latents`` (b, v, c, h, w) of whole canvases, and ``given``: of the same, black where they are masked."""
        visible = mask.to(pixels)[:, :, None, None, None]
        masked = torch.where(visible > 0, pixels, -torch.ones_like(pixels))
        found = {}
        for name, shown in (("latents", pixels), ("given", masked)):
            padded = pad_views(shown.flatten(0, 1), self.view_multiple)[0]
            canvases = tile(torch.unflatten(padded, 0, shown.shape[:2]), grid)
            found[name] = untile(encode_latents(self.vae, canvases).float(), grid)
        return found
