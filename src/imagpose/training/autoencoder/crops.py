"""What the autoencoder's two phases share: crops of views, noisy latents, measures of reconstructions, the export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch.nn import functional

from imagpose.metrics.pictures import measure_pictures
from imagpose.metrics.pixels import psnr
from imagpose.models.autoencoder import spatial_factor
from imagpose.pixels import Padding, pad_views, signed_to_bytes
from imagpose.training.autoencoder.config import CropConfig
from imagpose.training.autoencoder.views import open_views
from imagpose.training.stage import Batch, Stage, keyed_generator, keyed_rng

_VALIDATION_PICTURES = 200
_VALIDATION_NOISE = 0.2  # standard deviations of the latents
_SAMPLE_PICTURES = 8
_LATENT_STATISTICS_PICTURES = 512
_AT_ONCE = 16
_HEAD_POINTS, _NECK = [0, 14, 15, 16, 17], 1  # nose, eyes, ears
_HEAD_RADIUS = 0.85  # of the distance from the neck: from the chin to the crown
_HEAD_SIDE, _ENLARGEMENT = 64, 3  # pixels; a head of a full body is 20 high


class CropStage(Stage):
    """What the autoencoder's two stages share: crops of views, measures of reconstructions, the export.

    `vae` is set by the stage itself.
    """

    sample_name = "crops"
    vae: AutoencoderKL

    def __init__(self, config: CropConfig) -> None:
        super().__init__()
        self.config = config
        self.samples_per_batch = config.batch_size
        self.cache = open_views(config.data)
        self.validation_cache = open_views(config.validation)

    def batch(self, step: int, samples: range) -> Batch:
        """A batch of crops.

        ``pixels`` (b, 3, H, W) in [-1, 1]; ``weights`` (b, 1, H, W), how much a pixel's error counts; ``noise``
        (b, c, h, w) of the posterior; ``noise_level`` (b, 1, 1, 1).
        """
        config = self.config
        rng = keyed_rng(config.seed, step, samples.start)
        pixels, weights = self.crops(rng)
        count, factor = len(pixels), spatial_factor(self.vae)
        shape = (count, self.vae.config.latent_channels, pixels.shape[2] // factor, pixels.shape[3] // factor)
        noise = torch.randn(shape, generator=keyed_generator(config.seed, step, samples.start))
        levels = np.where(rng.random(count) < 0.5, rng.uniform(0.0, config.latent_noise, count), 0.0)
        return {
            "pixels": pixels,
            "weights": weights,
            "noise": noise,
            "noise_level": torch.from_numpy(levels).float()[:, None, None, None],
        }

    def crops(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops (b, 3, H, W) in [-1, 1] of views, of views made smaller, or of heads, half of them mirrored; weights.

        Height and width of a batch's views shrink by their own factors, for texture tokens change the aspect as well.
        A view that is narrower than a crop stays whole. Crops of heads are small: a batch holds more of them.
        """
        heads, *chosen = self._chosen(rng)
        crops = self._head_crops(rng, *chosen) if heads else self._view_crops(rng, *chosen)
        mirrored = torch.from_numpy(rng.random(len(crops)) < 0.5)
        crops = torch.where(mirrored[:, None, None, None], crops.flip(-1), crops)
        return crops[:, :3].clamp(-1, 1), crops[:, 3:].clamp(min=1)

    def items(self, step: int, samples: range) -> list[str]:
        """Person and view of each crop."""
        return self.cache.names(*self._chosen(keyed_rng(self.config.seed, step, samples.start))[1:])

    def _chosen(self, rng: np.random.Generator) -> tuple[bool, np.ndarray, np.ndarray]:
        """Whether a batch is of heads, and the identities and views of its crops: `batch_size`, or more of heads."""
        config, cache = self.config, self.cache
        # Where no batch shows heads alone, nothing is drawn for it: the other draws stay what they were.
        heads = config.head_fraction > 0 and bool(rng.random() < config.head_fraction)
        count = config.batch_size * ((config.crop_size // config.head_crop_size) ** 2 if heads else 1)
        return heads, rng.integers(0, cache.num_identities, count), rng.integers(0, cache.num_views, count)

    def _view_crops(self, rng: np.random.Generator, identities: np.ndarray, numbers: np.ndarray) -> torch.Tensor:
        """Crops (b, 4, H, W) of views at random places, their weights as a fourth channel."""
        config, count = self.config, len(identities)
        views = self._weighted_views(identities, numbers)
        if rng.random() < config.reduced_fraction:
            factor, scales = spatial_factor(self.vae), rng.uniform(config.smallest_scale, 1.0, 2)
            size = [max(1, round(s * side / factor)) * factor for s, side in zip(scales, views.shape[2:], strict=True)]
            views = functional.interpolate(views, size=size, mode="bicubic", antialias=True)
        height, width = (min(config.crop_size, side) for side in views.shape[2:])
        tops = rng.integers(0, views.shape[2] - height + 1, count)
        lefts = rng.integers(0, views.shape[3] - width + 1, count)
        return torch.stack(
            [
                view[:, top : top + height, left : left + width]
                for view, top, left in zip(views, tops, lefts, strict=True)
            ]
        )

    def _head_crops(self, rng: np.random.Generator, *chosen: np.ndarray) -> torch.Tensor:
        """Crops (n, 4, s, s) with the head about their middle, or anywhere in views without one, as `_view_crops`."""
        side = self.config.head_crop_size
        views, crops = self._weighted_views(*chosen), []
        room = np.array(views.shape[2:]) - side
        for view, points in zip(views, self.cache.get("keypoints", *chosen), strict=True):
            head, corner = head_circle(points.numpy()), rng.integers(0, room + 1)
            if head is not None:
                off = rng.uniform(-side / 6, side / 6, 2)
                corner = np.clip(head[0][::-1] - side / 2 + off, 0, room).astype(int)
            top, left = corner
            crops.append(view[:, top : top + side, left : left + side])
        return torch.stack(crops)

    def _weighted_views(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        return torch.cat([self.cache.pixels(identities, views), self._weights(identities, views)[:, None]], dim=1)

    def _weights(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Weights (n, H, W) of the pixels of views: 1, on the person `person_weight`, on the head `head_weight`."""
        config, cache = self.config, self.cache
        person = cache.foreground(identities, views)
        weights = torch.where(person, config.person_weight, 1.0)
        y, x = torch.meshgrid(torch.arange(weights.shape[1]), torch.arange(weights.shape[2]), indexing="ij")
        for own, foreground, points in zip(weights, person, cache.get("keypoints", identities, views), strict=True):
            head = head_circle(points.numpy())
            if head is not None:
                (left, top), radius = head
                own[foreground & ((x - left) ** 2 + (y - top) ** 2 < radius**2)] = config.head_weight
        return weights

    def validate(self) -> dict[str, float]:
        """Measures of the reconstructions of held-out people, one view each.

        ``psnr``; ``psnr_noise``, with noise of 0.2 of the latents' spread; ``psnr_half``, of views of half the size;
        ``psnr_head``, in the square that just holds the head, where one is seen;
        ``least_spread``, the smallest spread of a latent channel over the channels' mean: near 0 where one is empty;
        ``gradient_ratio``, ``detail_correlation``, ``psnr_mask`` and ``ssim_mask`` as `measure_pictures`.
        """
        cache = self.validation_cache
        views = self.held_out(_VALIDATION_PICTURES)
        pixels, masks = cache.pixels(*views), cache.foreground(*views).numpy()
        half = functional.interpolate(pixels[::2], scale_factor=0.5, mode="bicubic", antialias=True).clamp(-1, 1)
        latents, size = self._encoded(pixels), pixels.shape[2:]
        spreads = latents.std(dim=(0, 2, 3))
        outputs, truths = self._decoded(latents, size), signed_to_bytes(pixels)
        shown = [number for number, mask in enumerate(masks) if mask.any()]
        return {
            "psnr": _mean_psnr(outputs, truths),
            "psnr_noise": _mean_psnr(self._decoded(latents, size, _VALIDATION_NOISE), truths),
            "psnr_half": _mean_psnr(self.reconstruct(half), signed_to_bytes(half)),
            "psnr_head": _head_psnr(outputs, truths, cache.get("keypoints", *views).numpy()),
            "least_spread": float(spreads.min() / spreads.mean()),
            **measure_pictures(*(list(own[shown]) for own in (outputs.numpy(), truths.numpy(), masks))),
        }

    def held_out(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(identity, view) pairs: each person once, the views in turn; again with other views where people are few."""
        cache = self.validation_cache
        numbers = np.arange(min(count, cache.num_identities * cache.num_views))
        identities = numbers % cache.num_identities
        return identities, (identities + numbers // cache.num_identities) % cache.num_views

    def reconstruct(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pictures uint8 (n, H, W, 3) of pixels (n, 3, H, W)."""
        return self._decoded(self._encoded(pixels), pixels.shape[2:])

    @torch.no_grad()
    def _encoded(self, pixels: torch.Tensor) -> torch.Tensor:
        """The posterior's means, float32 (n, c, h, w), of pixels (n, 3, H, W)."""
        padded, _ = pad_views(pixels, spatial_factor(self.vae))
        device = next(self.parameters()).device
        chunks = torch.split(padded, _AT_ONCE)
        return torch.cat([self.vae.encode(chunk.to(device)).latent_dist.mean.float() for chunk in chunks])

    def _decoded(self, latents: torch.Tensor, size: torch.Size, noise: float = 0.0) -> torch.Tensor:
        """Pictures uint8 (n, H, W, 3) of `size` (H, W) of latents with noise of so many of their spreads."""
        height, width = size
        padding = Padding.to_multiple(height, width, spatial_factor(self.vae))
        generator = keyed_generator(self.config.seed, len(latents))
        pictures = []
        for chunk in torch.split(latents, _AT_ONCE):
            drawn = torch.randn(chunk.shape, generator=generator).to(chunk.device)
            decoded = self.vae.decode(chunk + noise * chunk.std() * drawn).sample.float().cpu()
            pictures.append(signed_to_bytes(padding.crop(decoded)))
        return torch.cat(pictures)

    def compilable(self) -> tuple[torch.nn.Module, ...]:
        """Encoder and decoder."""
        return self.vae.encoder, self.vae.decoder

    def sample_grid(self) -> np.ndarray:
        """Held-out people above their reconstructions; below, the heads of all, enlarged."""
        views = self.held_out(_SAMPLE_PICTURES)
        people = [own.numpy() for own in self.shown(self.shown_pixels())]
        keypoints = self.validation_cache.get("keypoints", *views).numpy()
        heads = [
            np.stack([_head(picture, points) for picture, points in zip(pictures, keypoints, strict=True)])
            for pictures in people
        ]
        return _sheet([*people, *heads])

    def shown_pixels(self) -> torch.Tensor:
        """Held-out views of the sample grid, (n, 3, H, W)."""
        return self.validation_cache.pixels(*self.held_out(_SAMPLE_PICTURES))

    def shown(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Rows of the sample grid, uint8 (n, H, W, 3): pixels (n, 3, H, W) and what is made of them."""
        return [signed_to_bytes(pixels), self.reconstruct(pixels)]

    def export(self, folder: Path) -> None:
        """`save_pretrained`, with scaling_factor = 1 / standard deviation of the latents of training views."""
        count = min(_LATENT_STATISTICS_PICTURES, self.cache.num_identities)
        pixels = self.cache.pixels(np.arange(count), np.arange(count) % self.cache.num_views)
        spread = self._encoded(pixels).cpu().std()
        self.vae.register_to_config(scaling_factor=float(1.0 / spread))
        self.vae.save_pretrained(folder)


def noisy_latents(posterior: DiagonalGaussianDistribution, batch: Batch) -> torch.Tensor:
    """A sample of the posterior and noise of the batch's levels, in units of the means' spread; float32 (b, c, h, w)."""
    mean = posterior.mean.float()
    added = batch["noise_level"] * mean.detach().std()
    # The posterior's noise and the added one are independent: their variances add up, and one draw serves both.
    latents: torch.Tensor = mean + (posterior.logvar.float().exp() + added.square()).sqrt() * batch["noise"]
    return latents


def _mean_psnr(outputs: torch.Tensor, truths: torch.Tensor) -> float:
    return float(np.mean([psnr(*pair) for pair in zip(outputs.numpy(), truths.numpy(), strict=True)]))


def _head_psnr(outputs: torch.Tensor, truths: torch.Tensor, keypoints: np.ndarray) -> float:
    """Mean PSNR in the squares around the heads of pictures uint8 (n, H, W, 3); NaN where no head is seen."""
    values = []
    for output, truth, points in zip(outputs, truths, keypoints, strict=True):
        head = head_circle(points)
        if head is not None:
            (x, y), radius = head
            square = np.s_[max(0, int(y - radius)) : int(y + radius) + 1, max(0, int(x - radius)) : int(x + radius) + 1]
            if output[square].numel():
                values.append(psnr(output[square].numpy(), truth[square].numpy()))
    return float(np.mean(values)) if values else float("nan")


def head_circle(keypoints: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Middle (x, y) and radius in pixels of the head of key points (18, 3); None where the neck or the head is not seen.

    Eyes, ears and nose lie about as far above the neck, which is the middle of the shoulders, as a head is high.
    """
    head, neck = keypoints[_HEAD_POINTS], keypoints[_NECK]
    seen = head[head[:, 2] > 0, :2]
    if not len(seen) or neck[2] == 0:
        return None
    middle = seen.mean(0)
    return middle, _HEAD_RADIUS * float(np.linalg.norm(middle - neck[:2]))


def _head(picture: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """A square around the head of a view (H, W, 3), enlarged; around the middle where no head is seen."""
    height, width = picture.shape[:2]
    head = head_circle(keypoints)
    x, y = (width / 2, height / 2) if head is None else head[0]
    side = min(_HEAD_SIDE, height, width)
    top, left = (int(np.clip(c - side / 2, 0, end - side)) for c, end in ((y, height), (x, width)))
    square = picture[top : top + side, left : left + side]
    return square.repeat(_ENLARGEMENT, axis=0).repeat(_ENLARGEMENT, axis=1)


def _sheet(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of pictures (n, H, W, 3), each row's own size, in columns of one width, on white."""
    column = max(row.shape[2] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, 0), (0, column - row.shape[2]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate([np.concatenate(list(row), axis=1) for row in padded])
