"""Training of the judges: key points, outline, and who is shown.

They never meet a generator; noise and tint stand for what generated pictures are like. Blurred pictures are shown to the
judge of outlines alone: to the others a blur shall cost something, for a real picture is sharp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from imagpose.judges.degrade import coarsen, degrade
from imagpose.judges.identity import IdentityNetwork
from imagpose.judges.pose import PoseEstimator, Reach, heatmap_loss, move
from imagpose.judges.shipped import Judge, resize, save_judge, working_size
from imagpose.judges.silhouette import SilhouetteNetwork, emptied, soft_iou
from imagpose.pixels import bytes_to_signed
from imagpose.training.cache import ViewCache
from imagpose.training.configs import Fraction, RenderedRunConfig
from imagpose.training.metric_learning import MetricLearningConfig, MetricLearningStage
from imagpose.training.run import views_trainer
from imagpose.training.stage import Batch, Stage, keyed_generator, keyed_rng

_VALIDATION_CHUNK = 32
_CLOSE = 0.05  # of the picture's height: a key point is found when it lies within


class IdentityConfig(MetricLearningConfig):
    """The network that evaluation tells people apart with."""


class PoseEstimatorConfig(RenderedRunConfig):
    """The network that evaluation finds key points with; `batch_size` counts pictures."""

    largest_turn: Annotated[float, Field(ge=0, le=45)] = Field(15.0, description="Largest random turn, degrees.")
    largest_zoom: Annotated[float, Field(ge=1, le=2)] = Field(
        1.3, description="Largest random enlargement; 1/x smallest."
    )
    largest_shift: Fraction = Field(0.1, description="Largest random shift, share of the picture's sides.")


class SilhouetteConfig(RenderedRunConfig):
    """The network that evaluation finds silhouettes with; `batch_size` counts pictures."""

    empty_probability: Fraction = Field(
        0.1, description="Share of pictures in whose place an empty one is shown, where a side of the picture is free."
    )
    height: Annotated[int, Field(ge=16)] | None = Field(
        None, description="Height at which the network looks at pictures, to which views are brought; none: theirs."
    )
    coarse_probability: Fraction = Field(0.4, description="Share of pictures with less detail, see `degrade.coarsen`.")


class ViewJudgeStage(Stage):
    """A network that judges each view by itself, trained on rendered views that are drawn at random."""

    def __init__(self, config: RenderedRunConfig, build: Callable[[], Judge]) -> None:
        """`build` makes the network, fresh from the configuration's seed."""
        super().__init__()
        self.samples_per_batch = config.batch_size
        self.cache = ViewCache(config.data)
        self.validation_cache = ViewCache(config.validation)
        torch.manual_seed(config.seed)
        self.network = build()
        self._seed = config.seed

    def items(self, step: int, samples: range) -> list[str]:
        """Person and view of each picture."""
        return self.cache.names(*self.drawn_views(keyed_rng(self._seed, step, samples.start)))

    def drawn_views(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Identities and views (b,) of a batch, counted in the cache."""
        cache, count = self.cache, self.samples_per_batch
        return rng.integers(0, cache.num_identities, count), rng.integers(0, cache.num_views, count)

    def held_out_views(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Identities and views of all pictures of the held-out people, so many at a time as fit into the memory."""
        cache = self.validation_cache
        every = np.arange(cache.num_identities * cache.num_views)
        for start in range(0, len(every), _VALIDATION_CHUNK):
            identities, views = np.divmod(every[start : start + _VALIDATION_CHUNK], cache.num_views)
            yield identities, views


class PoseEstimatorStage(ViewJudgeStage):
    """Heatmaps by cross-entropy against a Gaussian around the key point, presence by binary cross-entropy."""

    name = "pose estimator"
    network: PoseEstimator

    def __init__(self, config: PoseEstimatorConfig) -> None:
        super().__init__(config, lambda: PoseEstimator(config.data.height))
        self.config = config

    def batch(self, step: int, samples: range) -> Batch:
        """``pixels`` (b, 3, H, W) in [-1, 1], moved and degraded, and their ``keypoints`` (b, 18, 3)."""
        config = self.config
        rng = keyed_rng(config.seed, step, samples.start)
        chosen = self.drawn_views(rng)
        reach = Reach(config.largest_turn, config.largest_zoom, config.largest_shift)
        pixels, keypoints = move(
            bytes_to_signed(self.cache.get("pictures", *chosen)), self.cache.get("keypoints", *chosen), reach, rng
        )
        generator = keyed_generator(config.seed, step, samples.start)
        return {"pixels": degrade(pixels, generator, blur=False), "keypoints": keypoints}

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss, its two parts."""
        heatmaps, presence, padding = self.network(batch["pixels"])
        keypoints = batch["keypoints"]
        present = (keypoints[..., 2] > 0).float()
        positions = keypoints[..., :2] + keypoints.new_tensor([padding.left, padding.top])
        place = heatmap_loss(heatmaps.float(), positions, present)
        presence_loss = functional.binary_cross_entropy_with_logits(presence.float(), present)
        return place + presence_loss, {"place": place.detach(), "presence": presence_loss.detach()}

    def validate(self) -> dict[str, float]:
        """On held-out people: share of visible key points within 5 % of the picture's height, mean error of visible ones
        in pixels, share of key points whose presence is told."""
        cache, device = self.validation_cache, next(self.parameters()).device
        truth = torch.cat([cache.get("keypoints", *shown) for shown in self.held_out_views()])
        found = torch.cat(
            [self.network.keypoints(cache.pixels(*shown).to(device)).cpu() for shown in self.held_out_views()]
        )
        distance = (found[..., :2] - truth[..., :2]).norm(dim=-1)[truth[..., 2] == 1]
        told = (found[..., 2] > 0.5) == (truth[..., 2] > 0)
        return {
            "found": float((distance <= _CLOSE * cache.config.height).float().mean()),
            "error_pixels": float(distance.mean()),
            "presence": float(told.float().mean()),
        }

    def export(self, folder: Path) -> None:
        """``pose_estimator.safetensors``, half precision."""
        save_judge(self.network, folder / "pose_estimator.safetensors")


class SilhouetteStage(ViewJudgeStage):
    """Each pixel by binary cross-entropy, the outline of each person by its soft IoU."""

    name = "silhouette"
    network: SilhouetteNetwork

    def __init__(self, config: SilhouetteConfig) -> None:
        super().__init__(config, lambda: SilhouetteNetwork(config.height or config.data.height))
        self.config = config

    def batch(self, step: int, samples: range) -> Batch:
        """``pixels`` (b, 3, h, w) in [-1, 1], mirrored, emptied, degraded and brought to the height in which the network
        works, and the ``foreground`` (b, h, w), whose pixels are 1 where half of them or more are covered."""
        config = self.config
        rng = keyed_rng(config.seed, step, samples.start)
        chosen = self.drawn_views(rng)
        pixels, foreground = self.cache.pixels(*chosen), self.cache.foreground(*chosen)
        mirrored = torch.from_numpy(rng.random(config.batch_size) < 0.5)[:, None, None]
        foreground = torch.where(mirrored, foreground.flip(-1), foreground)
        pixels = torch.where(mirrored[:, None], pixels.flip(-1), pixels)
        empty = torch.from_numpy(rng.random(config.batch_size) < config.empty_probability)
        pixels, foreground = emptied(pixels, foreground, empty)
        generator = keyed_generator(config.seed, step, samples.start)
        size = working_size(pixels.shape[-2:], self.network.height)
        pixels, foreground = resize(pixels, size), resize(foreground[:, None].float(), size)[:, 0] >= 0.5
        pixels = degrade(coarsen(pixels, config.coarse_probability, generator), generator)
        return {"pixels": pixels, "foreground": foreground}

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss, its two parts."""
        logits, truth = self.network(batch["pixels"]).float(), batch["foreground"].float()
        entropy = functional.binary_cross_entropy_with_logits(logits, truth)
        shown = truth.any(dim=2).any(dim=1).float()
        overlap = ((1 - soft_iou(logits.sigmoid(), truth)) * shown).sum() / shown.sum().clamp(min=1)
        return entropy + overlap, {"entropy": entropy.detach(), "overlap": overlap.detach()}

    def validate(self) -> dict[str, float]:
        """On held-out people: mean IoU with the renderer's masks, of pictures as they are and of degraded ones."""
        cache, generator = self.validation_cache, keyed_generator(self.config.seed)
        values: dict[str, list[torch.Tensor]] = {"iou": [], "iou_degraded": []}
        for shown in self.held_out_views():
            pixels, truth = cache.pixels(*shown), cache.foreground(*shown).float()
            for name, own in (("iou", pixels), ("iou_degraded", degrade(pixels, generator))):
                values[name].append(soft_iou(self._found(own).float(), truth))
        return {name: float(torch.cat(own).mean()) for name, own in values.items()}

    def _found(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (b, H, W) that show the person, as `find_foreground` tells them."""
        size = working_size(pixels.shape[-2:], self.network.height)
        logits = self.network(resize(pixels, size).to(next(self.parameters()).device))[:, None].float().cpu()
        return resize(logits, pixels.shape[-2:])[:, 0] > 0

    def export(self, folder: Path) -> None:
        """``silhouette.safetensors``, half precision."""
        save_judge(self.network, folder / "silhouette.safetensors")


class IdentityStage(MetricLearningStage):
    """The identity network, as the image encoder is trained but on degraded pictures."""

    name = "identity"

    def __init__(self, config: IdentityConfig) -> None:
        super().__init__(config)
        self.network = IdentityNetwork(config.data.height)

    def batch(self, step: int, samples: range) -> Batch:
        """As the base says, half of the pictures degraded."""
        pixels = super().batch(step, samples)["pixels"]
        generator = keyed_generator(self.config.seed, step, samples.start, 1)
        chosen = torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5
        return {"pixels": torch.where(chosen, degrade(pixels, generator, blur=False), pixels)}

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings (b, 128) of length 1."""
        features: torch.Tensor = self.network(pixels)
        return features

    def export(self, folder: Path) -> None:
        """``identity.safetensors``, half precision."""
        save_judge(self.network, folder / "identity.safetensors")


train_pose_estimator = views_trainer(PoseEstimatorConfig, PoseEstimatorStage)
train_silhouette = views_trainer(SilhouetteConfig, SilhouetteStage)
train_identity = views_trainer(IdentityConfig, IdentityStage)
