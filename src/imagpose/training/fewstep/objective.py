"""The mathematics of few-step students, as small pure functions.

A noisy picture at a level with signal a and deviation s, a^2 + s^2 = 1, is z = a x + s e. A step of DDIM to the level
(a', s') keeps the noise that a prediction of x leaves over:

    z' = a' x + (s' / s) (z - a x)                                                        (1)

Consistency distillation: with D the guided teacher, c_skip and c_out those of diffusers' LCMScheduler,

    f(z, t) = c_skip(t) z + c_out(t) x_student(z, t),     f(z, t) -> f(z', t') for z' by (1) from x = D(z, t)

where the right side is no function of the weights. Source: Song et al., "Consistency models", 2023; Luo et al., "Latent
consistency models", 2023, Algorithm 1.

Progressive distillation: the teacher goes from z at t to z'' at t'' in several steps; what the student has to predict is the
x that goes there in one,

    x = (z'' - (s'' / s) z) / (a'' - (s'' / s) a)                                         (2)

compared as velocities, v = (a z - x) / s. Source: Salimans and Ho, "Progressive distillation for fast sampling of diffusion
models", 2022, §3 and appendix G; guidance inside: Meng et al., "On distillation of guided diffusion models", 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

_SIGMA_DATA = 0.5  # of diffusers' LCMScheduler
_HUBER = 1e-3


@dataclass(frozen=True)
class Level:
    """Signal and deviation of noisy latents, each (b, 1, 1, 1, 1)."""

    signal: torch.Tensor
    deviation: torch.Tensor


def noise_level(scheduler: Any, timesteps: torch.Tensor) -> Level:
    """The level of timesteps (b,); below 0 lies the scheduler's last, at which sampling ends."""
    kept = scheduler.alphas_cumprod.to(timesteps.device)[timesteps.clamp(min=0)]
    kept = torch.where(timesteps < 0, scheduler.final_alpha_cumprod.to(kept), kept).view(-1, 1, 1, 1, 1)
    return Level(kept.sqrt(), (1 - kept).sqrt())


def ddim_step(noisy: torch.Tensor, clean: torch.Tensor, start: Level, end: Level) -> torch.Tensor:
    """Equation 1: from `noisy` at `start` to `end`, with `clean` predicted."""
    return end.signal * clean + end.deviation / start.deviation * (noisy - start.signal * clean)


def clean_of_step(noisy: torch.Tensor, reached: torch.Tensor, start: Level, end: Level) -> torch.Tensor:
    """Equation 2: the clean latents with which one step of DDIM from `noisy` at `start` ends at `reached`."""
    ratio = end.deviation / start.deviation
    return (reached - ratio * noisy) / (end.signal - ratio * start.signal)


def consistent(
    noisy: torch.Tensor, clean: torch.Tensor, timesteps: torch.Tensor, timestep_scaling: float
) -> torch.Tensor:
    """f(z, t): `clean`, the student's prediction, but `noisy` itself at timestep 0.

    Args:
        noisy, clean: (b, v, c, h, w).
        timesteps: (b,).
        timestep_scaling: of the LCMScheduler that samples.
    """
    # c_skip = d^2 / (u^2 + d^2), c_out = u / sqrt(u^2 + d^2), u the scaled timestep and d = .5, as LCMScheduler has them.
    scaled = timesteps.to(noisy).view(-1, 1, 1, 1, 1) * timestep_scaling
    total = scaled.square() + _SIGMA_DATA**2
    return _SIGMA_DATA**2 / total * noisy + scaled / total.sqrt() * clean


def pseudo_huber(error: torch.Tensor) -> torch.Tensor:
    """sqrt(error^2 + c^2) - c of each number: nearly its size, smooth at 0. Source: Song and Dhariwal, "Improved techniques
    for training consistency models", 2023, §3.3."""
    return (error.square() + _HUBER**2).sqrt() - _HUBER


def velocity_error(prediction: torch.Tensor, target: torch.Tensor, start: Level) -> torch.Tensor:
    """Squared error of two predictions of clean latents from the same noisy ones, as velocities: (x - x')^2 / s^2."""
    return ((prediction - target) / start.deviation).square()
