"""Telling people apart: what the image encoder and the identity network of evaluation are trained by."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from pydantic import Field

from imagpose.training.cache import ViewCache
from imagpose.training.configs import Fraction, RenderedRunConfig
from imagpose.training.stage import Batch, Stage, keyed_rng

_VALIDATION_CHUNK = 64


class MetricLearningConfig(RenderedRunConfig):
    """Telling identities apart; `batch_size` counts identities, each with two views."""

    temperature: float = Field(0.1, gt=0, description="Temperature of the contrastive loss.")
    colour_jitter: Fraction = Field(0.1, description="Largest relative change of brightness, contrast and saturation.")
    crop_fraction: Fraction = Field(0.15, description="Largest share of a view's sides that a random crop removes.")
    mirror_probability: Fraction = 0.5
    plain_probability: Fraction = Field(
        0.7,
        description="Share of pictures put before a plain random colour: the views of an identity share a backdrop, by "
        "which they could be told apart without a look at the person.",
    )


def contrastive_loss(one: torch.Tensor, other: torch.Tensor, temperature: float) -> torch.Tensor:
    """Symmetric InfoNCE of two views of b identities: cross-entropy of finding the identity among the batch.

    Args:
        one, other: embeddings (b, d); row i of both shows identity i.
        temperature: divides the cosine similarities.

    Source: van den Oord et al., "Representation learning with contrastive predictive coding", 2018, eq. 4.
    """
    similarity = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / temperature
    truth = torch.arange(len(one), device=one.device)
    return 0.5 * (F.cross_entropy(similarity, truth) + F.cross_entropy(similarity.T, truth))


class MetricLearningStage(Stage):
    """Two views of each identity are drawn together, views of others apart."""

    def __init__(self, config: MetricLearningConfig) -> None:
        super().__init__()
        self.config = config
        self.samples_per_batch = 2 * config.batch_size
        self.cache = ViewCache(config.data)
        self.validation_cache = ViewCache(config.validation)
        if config.batch_size > self.cache.num_identities:
            raise ValueError(f"batch_size ({config.batch_size}) exceeds the number of identities in data")
        torch.manual_seed(config.seed)

    @abstractmethod
    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (b, 3, H, W) in [-1, 1] to what tells people apart, (b, d)."""

    def embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the loss compares, (b, d'); the features themselves if a stage has nothing between."""
        return self.features(pixels)

    def batch(self, step: int, samples: range) -> Batch:
        """``pixels`` (2 b, 3, H, W) in [-1, 1], augmented: first views of b different identities, then second views."""
        config = self.config
        rng = keyed_rng(config.seed, step, samples.start)
        chosen = self._chosen(rng)
        pixels = self.cache.pixels(*chosen)
        plain = torch.from_numpy(rng.random(len(pixels)) < config.plain_probability)
        colours = torch.from_numpy(rng.uniform(-1.0, 1.0, (len(pixels), 3)).astype(np.float32))
        before_colour = before_plain_colour(pixels, self.cache.foreground(*chosen), colours)
        return {"pixels": augment(torch.where(plain[:, None, None, None], before_colour, pixels), config, rng)}

    def items(self, step: int, samples: range) -> list[str]:
        """Person and view of each picture."""
        return self.cache.names(*self._chosen(keyed_rng(self.config.seed, step, samples.start)))

    def _chosen(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Identities and views (2 b,) of a batch."""
        count = self.config.batch_size
        identities = rng.choice(self.cache.num_identities, count, replace=False)
        pairs = rng.random((count, self.cache.num_views)).argsort(axis=1)[:, :2]
        return np.tile(identities, 2), pairs.T.reshape(-1)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Contrastive loss of the embeddings."""
        one, other = self.embeddings(batch["pixels"]).float().chunk(2)
        loss = contrastive_loss(one, other, self.config.temperature)
        with torch.no_grad():
            found = (F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T).argmax(dim=1)
            rank1 = (found == torch.arange(len(one), device=one.device)).float().mean()
        return loss, {"rank1_in_batch": rank1}

    def validate(self) -> dict[str, float]:
        """Rank-1 on held-out identities: view 0 of each looks for its other views among those of all identities.

        A query counts as found when the nearest of all identities' view k is its own, averaged over k = 1, 2, ...
        ``rank1`` is on pictures as they are, ``rank1_plain`` on people before mid-grey, where only the person counts.
        """
        measures = {}
        for name, plain in (("rank1", False), ("rank1_plain", True)):
            query, *galleries = (self._embed(view, plain) for view in range(self.validation_cache.num_views))
            truth = torch.arange(len(query))
            hits = [(query @ gallery.T).argmax(dim=1) == truth for gallery in galleries]
            measures[name] = float(torch.stack(hits).float().mean())
        return measures

    def _embed(self, view: int, plain: bool) -> torch.Tensor:
        """Unit features (n, d) of one view of all held-out identities."""
        device = next(self.parameters()).device
        cache = self.validation_cache
        pairs = np.arange(cache.num_identities), np.full(cache.num_identities, view)
        pixels = cache.pixels(*pairs)
        if plain:
            pixels = before_plain_colour(pixels, cache.foreground(*pairs), torch.zeros(len(pixels), 3))
        features = [self.features(chunk.to(device)).float().cpu() for chunk in torch.split(pixels, _VALIDATION_CHUNK)]
        return F.normalize(torch.cat(features), dim=-1)


def before_plain_colour(pixels: torch.Tensor, foreground: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """Pixels (b, 3, H, W) with the ground behind the foreground (b, H, W) replaced by colours (b, 3)."""
    return torch.where(foreground[:, None], pixels, colours[:, :, None, None])


def augment(pixels: torch.Tensor, config: MetricLearningConfig, rng: np.random.Generator) -> torch.Tensor:
    """Random crop resized back, mirror, and small changes of brightness, contrast and saturation, per picture.

    Args:
        pixels: (b, 3, H, W) in [-1, 1].
        config: `crop_fraction`, `mirror_probability`, `colour_jitter`.
        rng: draws everything.

    Returns:
        Same shape and range.
    """
    count = len(pixels)
    scale = 1.0 - rng.uniform(0.0, config.crop_fraction, count)
    shift = rng.uniform(-1.0, 1.0, (count, 2)) * (1.0 - scale)[:, None]
    mirror = np.where(rng.random(count) < config.mirror_probability, -1.0, 1.0)
    affine = np.zeros((count, 2, 3), dtype=np.float32)
    affine[:, 0, 0], affine[:, 1, 1] = scale * mirror, scale
    affine[:, :, 2] = shift
    sampling = F.affine_grid(torch.from_numpy(affine), list(pixels.shape), align_corners=False)
    cropped = F.grid_sample(pixels, sampling, mode="bilinear", padding_mode="border", align_corners=False)
    change = 1.0 + rng.uniform(-config.colour_jitter, config.colour_jitter, (3, count, 1, 1, 1))
    brightness, contrast, saturation = torch.from_numpy(change.astype(np.float32))
    light = (cropped + 1.0) * brightness
    light = light.mean(dim=(1, 2, 3), keepdim=True).lerp(light, contrast)
    light = light.mean(dim=1, keepdim=True).lerp(light, saturation)
    augmented: torch.Tensor = (light - 1.0).clamp(-1, 1)
    return augmented
