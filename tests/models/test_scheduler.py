"""The noise schedule against its closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imagpose.models.scheduler import SCHEDULERS, build_scheduler, named_scheduler


@pytest.mark.parametrize("beta_schedule", ["scaled_linear", "linear"])
def test_betas(beta_schedule: str) -> None:
    scheduler = build_scheduler(beta_schedule=beta_schedule)
    if beta_schedule == "scaled_linear":
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    else:
        betas = np.linspace(0.00085, 0.012, 1000)
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)


def test_sampling_starts_at_the_noisiest_timestep() -> None:
    scheduler = build_scheduler()
    scheduler.set_timesteps(20)
    assert scheduler.timesteps.tolist() == list(range(999, 0, -50))


def test_the_timesteps_are_those_of_stable_diffusion_where_they_are_spaced_from_the_start() -> None:
    """Stable Diffusion's own files space them "leading" with an offset of 1; ours keep the offset for whoever does."""
    scheduler = type(build_scheduler()).from_config(build_scheduler().config, timestep_spacing="leading")
    scheduler.set_timesteps(20)
    assert scheduler.timesteps.tolist() == list(range(951, 0, -50))


def test_a_perfect_prediction_is_walked_back_to_the_latents() -> None:
    """With the true noise predicted, DDIM's update gives the noisy latents of the next timestep exactly."""
    scheduler = build_scheduler()
    scheduler.set_timesteps(20)
    latents, noise = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    sample = scheduler.add_noise(latents, noise, scheduler.timesteps[:1])
    for t in scheduler.timesteps:
        sample = scheduler.step(noise, t, sample).prev_sample
    alpha = scheduler.alphas_cumprod[0]
    torch.testing.assert_close(sample, alpha.sqrt() * latents + (1 - alpha).sqrt() * noise, rtol=1e-3, atol=1e-3)


def test_zero_terminal_snr() -> None:
    scheduler = build_scheduler("v_prediction", zero_terminal_snr=True)
    assert scheduler.alphas_cumprod[-1].item() == pytest.approx(0, abs=1e-7)
    assert scheduler.config.prediction_type == "v_prediction"
    with pytest.raises(ValueError, match="v_prediction"):
        build_scheduler("epsilon", zero_terminal_snr=True)


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_walks_a_known_picture_back_from_noise(name: str, zero_terminal_snr: bool) -> None:
    """Predicted exactly, the picture is what is left in the end, whatever the solver and its own noise."""
    trained = build_scheduler("v_prediction" if zero_terminal_snr else "epsilon", zero_terminal_snr=zero_terminal_snr)
    scheduler = named_scheduler(name, trained)
    generator = torch.Generator().manual_seed(0)
    latents, sample = torch.randn(2, 4, 3, 3, generator=generator), torch.randn(2, 4, 3, 3, generator=generator)
    scheduler.set_timesteps(50)
    sample = sample * scheduler.init_noise_sigma
    alphas = trained.alphas_cumprod
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(sample, t)
        alpha = alphas[round(float(t))]
        noise = (scaled - alpha.sqrt() * latents) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
        sample = scheduler.step(velocity if zero_terminal_snr else noise, t, sample, return_dict=False)[0]
    assert (sample - latents).abs().mean() < 0.05 < (torch.randn(latents.shape) - latents).abs().mean()
