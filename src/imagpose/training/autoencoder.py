"""Stage 1: the KL autoencoder, trained on crops, whole views and enlarged crops without downloaded networks.

Crops cost less than whole views and the network is fully convolutional; enlarged crops belong to its distribution
because texture tokens are made of the latents of an enlarged picture.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from diffusers import AutoencoderKL

from imagpose.model_folder import ModelFiles
from imagpose.models.loading import load_autoencoder
from imagpose.pictures import texture_pixels
from imagpose.training.cache import ViewCache, to_pixels
from imagpose.training.config import AutoencoderConfig
from imagpose.training.losses import linear_colour_loss, psnr_and_ssim, reconstruction_loss
from imagpose.training.stage import Batch, Stage, keyed_generator, keyed_rng, start_from
from imagpose.training.trainer import rendered_trainer

_FACTOR = 8
_VALIDATION_PICTURES = 128
_SAMPLE_PICTURES = 8
_LATENT_STATISTICS_PICTURES = 512


def build_autoencoder(config: AutoencoderConfig) -> AutoencoderKL:
    """Fresh autoencoder as `config.model` says."""
    model, levels = config.model, len(config.model.block_out_channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=model.block_out_channels,
        layers_per_block=model.layers_per_block,
        latent_channels=model.latent_channels,
        norm_num_groups=model.norm_num_groups,
        sample_size=max(config.data.height, config.data.width),
        mid_block_add_attention=model.mid_attention,
    )


class AutoencoderStage(Stage):
    """Reconstruction: L1 + multi-scale gradients + colour + (1 - SSIM) + a tiny KL divergence."""

    name = "autoencoder"

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.samples_per_batch = config.batch_size
        self.cache = ViewCache(config.data)
        self.validation_cache = ViewCache(config.validation)
        torch.manual_seed(config.seed)
        self.vae = build_autoencoder(config)
        if config.initial is not None:
            start_from(self.vae, load_autoencoder(ModelFiles(str(config.initial))), config.initial)

    def batch(self, step: int, samples: range) -> Batch:
        """``pixels`` (b, 3, H, W) in [-1, 1] and the posterior's ``noise`` (b, 4, H/8, W/8)."""
        config = self.config
        rng = keyed_rng(config.seed, step, samples.start)
        kind = rng.random()
        if kind < config.whole_fraction:
            pixels = self._whole_views(rng)
        elif kind < config.whole_fraction + config.enlarged_fraction:
            enlargement = rng.uniform(1.0, config.texture_long_side / max(config.data.height, config.data.width))
            pixels = self._crops(rng, max(8, math.ceil(config.crop_size / enlargement)))
            pixels = F.interpolate(pixels, size=(config.crop_size,) * 2, mode="bicubic", antialias=True).clamp(-1, 1)
        else:
            pixels = self._crops(rng, config.crop_size)
        mirrored = torch.from_numpy(rng.random(len(pixels)) < 0.5)
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
        shape = (len(pixels), config.model.latent_channels, pixels.shape[2] // _FACTOR, pixels.shape[3] // _FACTOR)
        noise = torch.randn(shape, generator=keyed_generator(config.seed, step, samples.start))
        levels = rng.uniform(0.0, config.latent_noise, len(pixels)).astype(np.float32)
        return {"pixels": pixels, "noise": noise, "noise_level": torch.from_numpy(levels)[:, None, None, None]}

    def _whole_views(self, rng: np.random.Generator) -> torch.Tensor:
        """As many whole views as cost about the same as a batch of crops."""
        area = self.config.data.height * self.config.data.width
        count = max(1, round(self.config.batch_size * self.config.crop_size**2 / area))
        return self.cache.pixels(*self._choose(rng, count))

    def _crops(self, rng: np.random.Generator, size: int) -> torch.Tensor:
        data, count = self.config.data, self.config.batch_size
        pictures = self.cache.get_each("pictures", *self._choose(rng, count))
        tops = rng.integers(0, data.height - size + 1, count)
        lefts = rng.integers(0, data.width - size + 1, count)
        crops = [
            picture[top : top + size, left : left + size]
            for picture, top, left in zip(pictures, tops, lefts, strict=True)
        ]
        return to_pixels(torch.stack(crops))

    def _choose(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, self.cache.num_identities, count), rng.integers(0, self.cache.num_views, count)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Weighted sum of the losses."""
        config, pixels = self.config, batch["pixels"]
        posterior = self.vae.encode(pixels).latent_dist
        extra = batch["noise_level"] * posterior.mean.std()
        latents = posterior.mean + (posterior.var + extra.square()).sqrt() * batch["noise"]
        output = self.vae.decode(latents).sample.float()
        loss, scalars = reconstruction_loss(output, pixels, config)
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        scalars["kl"] = divergence.detach()
        loss = loss + config.kl_weight * divergence
        if config.linear_colour_weight:
            with torch.autocast(pixels.device.type, enabled=False):
                colour = linear_colour_loss(latents, pixels)
            scalars["linear_colour"] = colour.detach()
            loss = loss + config.linear_colour_weight * colour
        return loss, scalars

    def validate(self) -> dict[str, float]:
        """PSNR and SSIM of the reconstruction of held-out people, as they are and enlarged for texture tokens."""
        cache = self.validation_cache
        measures: dict[str, float] = {}
        for name, count, enlarge in (("", _VALIDATION_PICTURES, False), ("_enlarged", _VALIDATION_PICTURES // 8, True)):
            count = min(count, cache.num_identities)
            pixels = cache.pixels(np.arange(count), np.arange(count) % cache.num_views)
            if enlarge:
                pixels = texture_pixels(pixels, self.config.texture_long_side)
            psnr, similarity = psnr_and_ssim(to_bytes(self._reconstruct(pixels)), to_bytes(pixels))
            measures |= {f"psnr{name}": psnr, f"ssim{name}": similarity}
        return measures

    def _reconstruct(self, pixels: torch.Tensor) -> torch.Tensor:
        device = next(self.parameters()).device
        chunks = [self.vae(chunk.to(device)).sample.float().cpu() for chunk in pixels.split(8)]
        return torch.cat(chunks)

    def sample_grid(self) -> np.ndarray:
        """Held-out people above their reconstructions."""
        cache = self.validation_cache
        count = min(_SAMPLE_PICTURES, cache.num_identities)
        pixels = cache.pixels(np.arange(count), np.arange(count) % cache.num_views)
        rows = [torch.cat(list(to_bytes(part)), dim=1) for part in (pixels, self._reconstruct(pixels))]
        return torch.cat(rows).numpy()

    def export(self, folder: Path) -> None:
        """`AutoencoderKL.save_pretrained`, with scaling_factor = 1 / std of training latents."""
        count = min(_LATENT_STATISTICS_PICTURES, self.cache.num_identities)
        pixels = self.cache.pixels(np.arange(count), np.arange(count) % self.cache.num_views)
        device = next(self.parameters()).device
        means = [self.vae.encode(chunk.to(device)).latent_dist.mean.float().cpu() for chunk in pixels.split(16)]
        self.vae.register_to_config(scaling_factor=float(1.0 / torch.cat(means).std()))
        self.vae.save_pretrained(folder)


def to_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels (..., 3, H, W) in [-1, 1] as uint8 (..., H, W, 3)."""
    return ((pixels.clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8).movedim(-3, -1)


train_autoencoder = rendered_trainer(AutoencoderConfig, AutoencoderStage)
