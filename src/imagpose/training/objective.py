"""Eq. 4 as small pure functions: what is drawn per canvas, the target, the weights and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from diffusers import DDIMScheduler
from diffusers.training_utils import compute_snr

from imagpose.data.groups import slot_views
from imagpose.training.stage import Drawn, keyed_generator, keyed_rng
from imagpose.views import ViewGrid, random_masks


@dataclass(frozen=True)
class CanvasDraw:
    """Everything random about a batch of b canvases with V slots.

    Attributes:
        grid: the grid of the whole batch.
        samples: (b,) keys (seed, step, sample), for what is drawn elsewhere: noise, augmentation.
        identities: (b,) identities, counted in the data.
        views: (b, V) view of each slot.
        mask: (b, V), 1 = visible source, 0 = masked target.
        feature_views: (b,) view that F_C is made of.
        keep_image_tokens: (b,) 0 where F_H is dropped.
        keep_texture: (b,) 0 where F_L is dropped.
        keep_source_poses: (b,) 0 where the skeletons of visible slots are left black.
        timesteps: (b,) one timestep per canvas.
    """

    grid: ViewGrid
    samples: list[tuple[int, int, int]]
    identities: np.ndarray
    views: np.ndarray
    mask: torch.Tensor
    feature_views: np.ndarray
    keep_image_tokens: torch.Tensor
    keep_texture: torch.Tensor
    keep_source_poses: torch.Tensor
    timesteps: torch.Tensor


@dataclass(frozen=True)
class DrawSettings:
    """What `draw_canvases` needs to know; see `DenoiserConfig` for the meaning.

    Attributes:
        global_batch: canvases of one step, over all processes and accumulated batches.
        view_counts: (identities,) number of views of each identity, at least 2.
        timestep_probabilities: (timesteps,) how often each is drawn.
    """

    seed: int
    global_batch: int
    view_counts: np.ndarray
    timestep_probabilities: np.ndarray
    grids: tuple[tuple[ViewGrid, float], ...]
    feature_dropout: float
    source_pose_dropout: float
    repeat_probability: float


def draw_canvases(settings: DrawSettings, step: int, samples: range) -> CanvasDraw:
    """The draws of some samples of a step; sample i depends on (seed, step, i) only, the grid on (seed, step).

    Identities come in epochs: each once, in an order of its own per epoch.
    """
    shares = np.array([share for _, share in settings.grids])
    grid = settings.grids[keyed_rng(settings.seed, step).choice(len(shares), p=shares / shares.sum())][0]
    identities = np.array([_identity(settings, step * settings.global_batch + sample) for sample in samples])
    rngs = [keyed_rng(settings.seed, step, sample) for sample in samples]
    masks = [
        random_masks(1, grid.num_views, keyed_generator(settings.seed, step, sample, Drawn.MASK)) for sample in samples
    ]
    mask = torch.cat(masks)
    layouts = [
        slot_views(int(settings.view_counts[identity]), visible, settings.repeat_probability, rng)
        for identity, visible, rng in zip(identities, mask.numpy() > 0, rngs, strict=True)
    ]
    uniform = np.array([rng.random(3) for rng in rngs])
    keep_image_tokens, keep_texture = _feature_dropout(uniform[:, 0], settings.feature_dropout)
    return CanvasDraw(
        grid=grid,
        samples=[(settings.seed, step, sample) for sample in samples],
        identities=identities,
        views=np.stack([views for views, _ in layouts]),
        mask=mask,
        feature_views=np.array([view for _, view in layouts]),
        keep_image_tokens=keep_image_tokens,
        keep_texture=keep_texture,
        keep_source_poses=torch.from_numpy((uniform[:, 1] >= settings.source_pose_dropout).astype(np.float32)),
        timesteps=torch.from_numpy(_timesteps(uniform[:, 2], settings.timestep_probabilities)),
    )


def _timesteps(draws: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Timesteps of draws in [0, 1), by the inverse of their distribution."""
    found = np.searchsorted(np.cumsum(probabilities), draws, side="right")
    return np.minimum(found, len(probabilities) - 1).astype(np.int64)


def _identity(settings: DrawSettings, number: int) -> int:
    """The identity of the run's sample `number`."""
    epoch, place = divmod(number, len(settings.view_counts))
    return int(_order(settings.seed, epoch, len(settings.view_counts))[place])


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, identities: int) -> np.ndarray:
    return keyed_rng(seed, epoch, 0, Drawn.ORDER).permutation(identities)


def _feature_dropout(draws: np.ndarray, probability: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Three disjoint events of `probability` each: F_H dropped, F_L dropped, both dropped (Table 6).

    Args:
        draws: (b,) uniform in [0, 1).
        probability: at most 1/3.

    Returns:
        (b,) factors 0 or 1 of F_H and of F_L.
    """
    image_tokens_dropped = (draws < probability) | ((draws >= 2 * probability) & (draws < 3 * probability))
    texture_dropped = (draws >= probability) & (draws < 3 * probability)
    return (
        torch.from_numpy((~image_tokens_dropped).astype(np.float32)),
        torch.from_numpy((~texture_dropped).astype(np.float32)),
    )


def draw_noise(samples: list[tuple[int, int, int]], shape: Sequence[int], offset: float) -> torch.Tensor:
    """Noise (b, v, 4, h, w), each canvas its own.

    Args:
        samples: b keys.
        shape: (v, 4, h, w).
        offset: standard deviation of a constant added to each view and channel; 0 adds none. Source: Guttenberg,
            "Diffusion with offset noise", 2023.
    """
    noise = []
    for sample in samples:
        generator = keyed_generator(*sample, Drawn.NOISE)
        drawn = torch.randn(*shape, generator=generator)
        noise.append(drawn + offset * torch.randn(*shape[:2], 1, 1, generator=generator) if offset else drawn)
    return torch.stack(noise)


def prediction_target(
    scheduler: DDIMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """What the UNet has to predict: the noise (Eq. 4), or the velocity for v-prediction."""
    if scheduler.config.prediction_type == "v_prediction":
        return scheduler.get_velocity(latents, noise, timesteps)
    return noise


def timestep_probabilities(scheduler: DDIMScheduler, noise_emphasis: float) -> np.ndarray:
    """Probability of each timestep, proportional to (share of noise variance) ** noise_emphasis.

    0 is uniform, as in the paper. 1 makes the velocity's error count as the error of the clean latents does: at little noise
    the velocity is mostly noise that nothing can tell, and its error teaches nothing. Source: own.
    """
    weights = (1.0 - scheduler.alphas_cumprod.double().numpy()) ** noise_emphasis
    return weights / weights.sum()


def min_snr_weights(scheduler: DDIMScheduler, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    """Min-SNR weights (b,): min(SNR, gamma) / SNR for noise, min(SNR, gamma) / (SNR + 1) for velocity.

    Source: Hang et al., "Efficient diffusion training via min-SNR weighting strategy", 2023, §3.4.
    """
    snr = compute_snr(scheduler, timesteps)
    divisor = snr + 1 if scheduler.config.prediction_type == "v_prediction" else snr
    return snr.clamp(max=gamma) / divisor


def denoising_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor,
    visible_weight: float,
    canvas_weights: torch.Tensor | None,
) -> torch.Tensor:
    """Mean squared error over all slots (Eq. 4), visible slots and canvases weighted.

    A mean over canvases that do not see each other, so that the mean over processes is the loss of the global batch.

    Args:
        prediction, target: (b, v, 4, h, w).
        mask: (b, v), 1 = visible source.
        visible_weight: weight of visible slots; 1 is Eq. 4. Weights are divided by their mean over masks as they are
            drawn, where (v - 1) / 2 slots of a canvas are visible on average.
        canvas_weights: (b,) min-SNR weights, or None.
    """
    error = (prediction - target).square().mean(dim=(2, 3, 4))
    visible_share = (mask.shape[1] - 1) / (2 * mask.shape[1])
    weights = torch.where(mask > 0, visible_weight, 1.0) / (1.0 + visible_share * (visible_weight - 1.0))
    if canvas_weights is not None:
        weights = weights * canvas_weights[:, None]
    return (weights * error).mean()
