"""Eq. 4 as small pure functions: what is drawn per canvas, the target, the weights and the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler
from diffusers.training_utils import compute_snr

from imagpose.training.stage import keyed_generator, keyed_rng
from imagpose.views import ViewGrid, random_masks


@dataclass(frozen=True)
class CanvasDraw:
    """Everything random about a batch of b canvases with V slots, except the noise.

    Attributes:
        grid: the grid of the whole batch.
        identities: (b,) identities, counted in the cache.
        views: (b, V) view of each slot.
        mask: (b, V), 1 = visible source, 0 = masked target.
        feature_views: (b,) view that F_C is made of.
        keep_image_tokens: (b,) 0 where F_H is dropped.
        keep_texture: (b,) 0 where F_L is dropped.
        keep_source_poses: (b,) 0 where the skeletons of visible slots are left black.
        timesteps: (b,) one timestep per canvas.
    """

    grid: ViewGrid
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
    """What `draw_canvases` needs to know; see `DenoiserConfig` for the meaning."""

    seed: int
    batch_size: int
    num_identities: int
    num_views: int
    num_timesteps: int
    grids: tuple[tuple[ViewGrid, float], ...]
    feature_dropout: float
    source_pose_dropout: float
    repeat_probability: float


def draw_canvases(settings: DrawSettings, step: int, process: int) -> CanvasDraw:
    """The draws of one step on one process; they depend on (seed, step, process) only.

    The grid is drawn from (seed, step), so that all processes work on canvases of one size.
    """
    shares = np.array([share for _, share in settings.grids])
    grid = settings.grids[keyed_rng(settings.seed, step).choice(len(shares), p=shares / shares.sum())][0]
    rng = keyed_rng(settings.seed, step, process)
    count, slots = settings.batch_size, grid.num_views
    identities = rng.integers(0, settings.num_identities, count)
    order = rng.random((count, settings.num_views)).argsort(axis=1)
    mask = random_masks(count, slots, keyed_generator(settings.seed, step, process))
    views = _repeat_views(order[:, :slots], mask.numpy() > 0, settings.repeat_probability, rng)
    keep_image_tokens, keep_texture = _feature_dropout(rng.random(count), settings.feature_dropout)
    return CanvasDraw(
        grid=grid,
        identities=identities,
        views=views,
        mask=mask,
        feature_views=_feature_views(views, mask.numpy() > 0, order, rng),
        keep_image_tokens=keep_image_tokens,
        keep_texture=keep_texture,
        keep_source_poses=torch.from_numpy((rng.random(count) >= settings.source_pose_dropout).astype(np.float32)),
        timesteps=torch.from_numpy(rng.integers(0, settings.num_timesteps, count)),
    )


def _repeat_views(views: np.ndarray, visible: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Some canvases show one view in all masked slots (as T1 lays them), some one view in all visible slots (T2)."""
    views = views.copy()
    for slots in (visible, ~visible):
        for canvas in np.flatnonzero(rng.random(len(views)) < probability):
            chosen = slots[canvas]
            if chosen.any():
                views[canvas, chosen] = views[canvas, chosen][0]
    return views


def _feature_views(views: np.ndarray, visible: np.ndarray, order: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the visible views; where all are masked, a view that is not on the canvas, or any if all are on it."""
    slots = views.shape[1]
    chosen = np.empty(len(views), dtype=np.int64)
    for canvas, draw in enumerate(rng.random(len(views))):
        candidates = views[canvas, visible[canvas]]
        if not len(candidates):
            candidates = order[canvas, slots:] if order.shape[1] > slots else views[canvas]
        chosen[canvas] = candidates[int(draw * len(candidates))]
    return chosen


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


def prediction_target(
    scheduler: DDIMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """What the UNet has to predict: the noise (Eq. 4), or the velocity for v-prediction."""
    if scheduler.config.prediction_type == "v_prediction":
        return scheduler.get_velocity(latents, noise, timesteps)
    return noise


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

    Args:
        prediction, target: (b, v, 4, h, w).
        mask: (b, v), 1 = visible source.
        visible_weight: weight of visible slots; 1 is Eq. 4. Weights of slots are normalised to mean 1 over the batch.
        canvas_weights: (b,) min-SNR weights, or None.
    """
    error = (prediction - target).square().mean(dim=(2, 3, 4))
    weights = torch.where(mask > 0, visible_weight, 1.0)
    weights = weights / weights.mean()
    if canvas_weights is not None:
        weights = weights * canvas_weights[:, None]
    return (weights * error).mean()
