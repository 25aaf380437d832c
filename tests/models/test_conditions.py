"""Meaning of the conditions: channel order, mask, black view, null features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imagpose.models.conditions import check_start, linear_velocity, noise_from, null_features, unet_input
from imagpose.models.scheduler import build_scheduler
from imagpose.views import ViewGrid


@pytest.mark.parametrize(("c", "in_channels"), [(4, 9), (4, 5), (4, 4), (16, 33), (16, 17), (16, 16)])
def test_channels_of_every_slot(c: int, in_channels: int) -> None:
    grid = ViewGrid(2, 3)
    noisy, latents, black = torch.randn(2, 6, c, 3, 2), torch.randn(2, 6, c, 3, 2), torch.randn(c, 3, 2)
    mask = torch.tensor([[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]).float()
    canvas = unet_input(noisy, latents, mask, black, grid, in_channels)

    assert canvas.shape == (2, in_channels, 6, 6)
    for sample in range(2):
        for slot in range(6):
            row, col = divmod(slot, 3)
            cell = canvas[sample, :, row * 3 : row * 3 + 3, col * 2 : col * 2 + 2]
            visible = bool(mask[sample, slot])
            assert torch.equal(cell[:c], noisy[sample, slot])
            if in_channels > c + 1:
                assert torch.equal(cell[c : 2 * c], latents[sample, slot] if visible else black)
            if in_channels > c:
                assert torch.equal(cell[-1], torch.full((3, 2), float(visible)))


def test_latents_of_masked_slots_are_not_seen() -> None:
    noisy, latents, black = torch.randn(1, 2, 4, 2, 2), torch.randn(1, 2, 4, 2, 2), torch.zeros(4, 2, 2)
    mask = torch.tensor([[1.0, 0.0]])
    hidden = latents.clone()
    hidden[:, 1] = float("nan")
    given = (mask, black, ViewGrid(1, 2), 9)
    assert torch.equal(unet_input(noisy, hidden, *given), unet_input(noisy, latents, *given))


def test_dtype_is_the_noisy_latents() -> None:
    noisy, latents = torch.randn(1, 2, 4, 2, 2).bfloat16(), torch.randn(1, 2, 4, 2, 2)
    canvas = unet_input(noisy, latents, torch.ones(1, 2), torch.zeros(4, 2, 2), ViewGrid(1, 2), 9)
    assert canvas.dtype == torch.bfloat16


def test_other_numbers_of_channels_are_refused() -> None:
    latents = torch.zeros(1, 2, 4, 2, 2)
    with pytest.raises(ValueError, match="8 input channels"):
        unet_input(latents, latents, torch.ones(1, 2), latents[0, 0], ViewGrid(1, 2), 8)


def test_null_features_are_zeros() -> None:
    features = torch.randn(2, 3, 4)
    assert torch.equal(null_features(features), torch.zeros(2, 3, 4))


def test_the_linear_velocity_is_what_least_squares_find() -> None:
    """Against a regression on a hundred thousand numbers drawn as the formula assumes, level by level."""
    scheduler = build_scheduler("v_prediction", betas=(0.0001, 0.0018))
    found = linear_velocity(scheduler, spread=0.6)
    generator = torch.Generator().manual_seed(0)
    shown, noise, apart = (torch.randn(100_000, generator=generator, dtype=torch.float64) for _ in range(3))
    latents = 2 * shown + 0.6 * apart
    shown = 2 * shown
    last = scheduler.alphas_cumprod[-1]
    for timestep in (0, 40, 300, 700, 999):
        signal, deviation = scheduler.alphas_cumprod[timestep].sqrt(), (1 - scheduler.alphas_cumprod[timestep]).sqrt()
        shifted = noise + (shown - latents) * float((last / (1 - last)).sqrt())
        noisy = signal * latents + deviation * shifted
        velocity = signal * shifted - deviation * latents
        by_regression = torch.linalg.lstsq(torch.stack([noisy, shown], 1), velocity[:, None]).solution[:, 0]
        torch.testing.assert_close(found[timestep].double(), by_regression, rtol=0, atol=0.02)
    # At the last level it stands for the shown latents themselves.
    alpha, beta = found[-1].tolist()
    signal, deviation = float(last.sqrt()), float((1 - last).sqrt())
    assert signal - deviation * alpha == pytest.approx(0, abs=1e-5) and -deviation * beta == pytest.approx(1, abs=1e-5)


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise, latents and what F_I shows of 2 canvases of 3 slots, the first visible."""
    noise, latents, shown = torch.randn(3, 2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(seed)).unbind(0)
    shown = shown.clone()
    shown[:, 0] = latents[:, 0]
    return noise, latents, shown


@pytest.mark.parametrize("betas", [(0.00085, 0.012), (0.0005, 0.004)])
def test_noise_leads_from_what_is_shown_to_the_latents(betas: tuple[float, float]) -> None:
    """A x + S e' = A y + S e at the last level, with A^2 the product of 1 - beta, computed here."""
    noise, latents, shown = drawn(0)
    kept = np.cumprod(1 - np.linspace(betas[0] ** 0.5, betas[1] ** 0.5, 1000) ** 2)
    led = noise_from(noise, latents, shown, build_scheduler(betas=betas))
    signal, deviation = kept[-1] ** 0.5, (1 - kept[-1]) ** 0.5
    torch.testing.assert_close(
        signal * latents + deviation * led, signal * shown + deviation * noise, rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(led[:, 0], noise[:, 0], rtol=0, atol=0)  # visible
    assert (led[:, 1:] - noise[:, 1:]).abs().mean() > 0.01


def test_the_way_from_what_is_shown_is_straight_in_the_noise_level() -> None:
    """(a x + s e') / a - x is s / a times the same at every timestep, as the scheduler adds noise."""
    noise, latents, shown = drawn(1)
    scheduler = build_scheduler()
    led = noise_from(noise, latents, shown, scheduler)
    for t in (0, 300, 700, 999):
        kept = float(scheduler.alphas_cumprod[t])
        noisy = scheduler.add_noise(latents, led, torch.full((2,), t))
        way = (noisy / kept**0.5 - latents) / ((1 - kept) / kept) ** 0.5
        torch.testing.assert_close(way, led, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [1, 4, 10])
def test_ddim_goes_from_what_is_shown_to_the_latents(prediction_type: str, steps: int) -> None:
    """With the true prediction for x and e', every step sees x, and the last ends at the first timestep's level of it."""
    noise, latents, shown = drawn(2)
    scheduler = build_scheduler(prediction_type)
    led = noise_from(noise, latents, shown, scheduler)
    for to_one in (False, True):
        scheduler = type(scheduler).from_config(scheduler.config, set_alpha_to_one=to_one)
        scheduler.set_timesteps(steps)
        sample = scheduler.add_noise(shown, noise, scheduler.timesteps[:1])
        for t in scheduler.timesteps:
            true = scheduler.get_velocity(latents, led, t[None]) if prediction_type == "v_prediction" else led
            stepped = scheduler.step(true, t, sample)
            torch.testing.assert_close(stepped.pred_original_sample, latents, rtol=1e-3, atol=1e-3)
            sample = stepped.prev_sample
        kept = 1.0 if to_one else 1 - 0.00085
        torch.testing.assert_close(sample, kept**0.5 * latents + (1 - kept) ** 0.5 * led, rtol=1e-3, atol=1e-3)


def test_what_cannot_start_from_the_image_condition_is_refused() -> None:
    check_start(9, 4, build_scheduler())
    with pytest.raises(ValueError, match="needs a UNet that sees masked latents"):
        check_start(5, 4, build_scheduler())
    with pytest.raises(ValueError, match="needs a schedule without zero_terminal_snr"):
        check_start(9, 4, build_scheduler("v_prediction", zero_terminal_snr=True))
