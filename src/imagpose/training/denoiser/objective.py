"""Eq. 4 as small pure functions: the target, the weights, the loss, and the skeletons that the pose encoder sees."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from diffusers.training_utils import compute_snr

from imagpose.pixels import bytes_to_unit
from imagpose.training.surface import HEAD


def prediction_target(
    scheduler: DDIMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """What the UNet has to predict: the noise (Eq. 4), or the velocity for v-prediction."""
    if scheduler.config.prediction_type == "v_prediction":
        velocity: torch.Tensor = scheduler.get_velocity(latents, noise, timesteps)
        return velocity
    return noise


def predicted_latents(
    scheduler: DDIMScheduler, prediction: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """The clean latents (b, ...) that a prediction for `noisy` stands for; from pure noise their conditional mean.

    Source: Salimans and Ho, "Progressive distillation for fast sampling of diffusion models", 2022, §4.
    With noisy = a x + s e: x = a noisy - s v for the velocity v = a e - s x, x = (noisy - s e) / a for the noise.
    """
    kept = scheduler.alphas_cumprod.to(noisy)[timesteps].view(-1, *[1] * (noisy.ndim - 1))
    signal, deviation = kept.sqrt(), (1 - kept).sqrt()
    if scheduler.config.prediction_type == "v_prediction":
        latents: torch.Tensor = signal * noisy - deviation * prediction
    else:
        latents = (noisy - deviation * prediction) / signal
    return latents


def min_snr_weights(scheduler: DDIMScheduler, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    """Min-SNR weights (b,): min(SNR, gamma) / SNR for noise, min(SNR + 1, gamma) / (SNR + 1) for velocity.

    Source: Hang et al., "Efficient diffusion training via min-SNR weighting strategy", 2023, §3.4; for velocity as the
    published code has it. Hang et al.'s own min(SNR, gamma) / (SNR + 1) is 0 at zero SNR, where sampling starts, so that
    nothing would be learnt there.
    """
    snr = compute_snr(scheduler, timesteps)
    if scheduler.config.prediction_type == "v_prediction":
        snr = snr + 1
    weights: torch.Tensor = snr.clamp(max=gamma) / snr
    return weights


def person_weights(surface: torch.Tensor, weight: float, head_weight: float | None = None) -> torch.Tensor:
    """Weight of each latent cell's error, (b, v, h, w): 1 on the ground, `weight` on the person, with mean 1 in each view.

    A view is divided by its own mean, so that neither its canvas nor the batch changes what it counts.

    Args:
        surface: (b, v, h, w, 4), see `surface_grid`: a cell that shows the person in part counts in that part.
        weight: how much the person's cells count against the ground's.
        head_weight: how much those of the head do; None: as the person's.
    """
    person = torch.full_like(surface[..., 3], weight)
    if head_weight is not None:
        person = torch.where(surface[..., 2] > HEAD, head_weight, person)
    weights = 1.0 + (person - 1.0) * surface[..., 3]
    return weights / weights.mean(dim=(2, 3), keepdim=True)


def denoising_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor,
    visible_weight: float,
    visible_share: float,
    canvas_weights: torch.Tensor | None = None,
    cell_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared error over all slots (Eq. 4), visible slots, canvases and cells weighted.

    A mean over canvases that do not see each other, so that the mean over processes is the loss of the global batch.

    Args:
        prediction, target: (b, v, c, h, w).
        mask: (b, v), 1 = visible source.
        visible_weight: weight of visible slots; 1 is Eq. 4.
        visible_share: expected share of visible slots (`views.visible_share`): slots' weights are divided by their mean
            over masks as they are drawn.
        canvas_weights: (b,) min-SNR weights, or None.
        cell_weights: (b, v, h, w), see `person_weights`, or None.
    """
    error = (prediction - target).square().mean(dim=2)
    if cell_weights is not None:
        error = error * cell_weights
    return slot_mean(error, mask, visible_weight, visible_share, canvas_weights)


def slot_mean(
    error: torch.Tensor,
    mask: torch.Tensor,
    visible_weight: float,
    visible_share: float,
    canvas_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean of errors (b, v, h, w) with the weights of slots and canvases that `denoising_loss` explains."""
    # Of mean 1 over masks: a slot is visible with this share, so that a mean weight is 1 + share (w - 1).
    weights = torch.where(mask > 0, visible_weight, 1.0) / (1.0 + visible_share * (visible_weight - 1.0))
    if canvas_weights is not None:
        weights = weights * canvas_weights[:, None]
    return (weights * error.mean(dim=(2, 3))).mean()


def visible_skeletons(skeletons: torch.Tensor, mask: torch.Tensor, keep_source_poses: torch.Tensor) -> torch.Tensor:
    """Skeletons uint8 (b, v, 3, H, W) in [0, 1]; black in visible slots of canvases whose source poses are dropped.

    Args:
        skeletons: as drawn.
        mask: (b, v), 1 = visible source.
        keep_source_poses: (b,) 0 where they are dropped.
    """
    drawn = torch.maximum(1.0 - mask, keep_source_poses[:, None])
    return bytes_to_unit(skeletons) * drawn[:, :, None, None, None]


def slot_errors(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean squared error of masked and of visible slots, without weights; arguments as `denoising_loss`."""
    error = (prediction - target).detach().square().mean(dim=(2, 3, 4))
    visible = mask.sum().clamp(min=1.0)
    return {
        "loss_masked": (error * (1.0 - mask)).sum() / (1.0 - mask).sum(),
        "loss_visible": (error * mask).sum() / visible,
    }
