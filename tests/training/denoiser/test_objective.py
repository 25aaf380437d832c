"""Targets, weights and loss of Eq. 4 against plain loops and hand-computed values."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from imagpose.models.scheduler import build_scheduler
from imagpose.training.denoiser.objective import (
    denoising_loss,
    min_snr_weights,
    person_weights,
    predicted_latents,
    prediction_target,
)
from imagpose.views import random_mask, visible_share


def scheduler_with(prediction_type: str) -> DDIMScheduler:
    """alphas_cumprod 0.9, 0.72, 0.36, 0.036 at timesteps 0 to 3: SNR 9, 18/7, 9/16, 9/241."""
    return DDIMScheduler(trained_betas=[0.1, 0.2, 0.5, 0.9], num_train_timesteps=4, prediction_type=prediction_type)


@pytest.mark.parametrize(
    ("prediction_type", "expected"),
    [("epsilon", [5 / 9, 1, 1, 1]), ("v_prediction", [5 / 10, 1, 1, 1])],
)
def test_min_snr_weights_by_hand(prediction_type: str, expected: list[float]) -> None:
    weights = min_snr_weights(scheduler_with(prediction_type), torch.arange(4), gamma=5.0)
    assert weights.tolist() == pytest.approx(expected, rel=1e-4)


def test_pure_noise_is_learnt_under_min_snr() -> None:
    """Sampling starts there, so a weight of 0 would leave the first step of every picture to chance."""
    scheduler = build_scheduler("v_prediction", zero_terminal_snr=True)
    weights = min_snr_weights(scheduler, torch.tensor([0, 999]), gamma=5.0)
    kept = float(scheduler.alphas_cumprod[0])
    assert weights.tolist() == pytest.approx([5 * (1 - kept), 1.0], rel=1e-3)  # SNR + 1 = 1 / (1 - kept)


def test_targets() -> None:
    latents, noise = torch.full((1, 1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1, 1), 3.0)
    timestep = torch.tensor([2])
    assert float(prediction_target(scheduler_with("epsilon"), latents, noise, timestep)) == 3.0
    velocity = 0.6 * 3.0 - 0.8 * 2.0
    assert float(prediction_target(scheduler_with("v_prediction"), latents, noise, timestep)) == pytest.approx(velocity)


@pytest.fixture
def slots() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.randn(2, 3, 4, 2, 2, generator=generator) for _ in range(2))
    return prediction, target, torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])


def test_eq4_is_the_mean_over_everything(slots) -> None:
    prediction, target, mask = slots
    squares = [(float(p) - float(t)) ** 2 for p, t in zip(prediction.flatten(), target.flatten(), strict=True)]
    expected = math.fsum(squares) / len(squares)
    assert float(denoising_loss(prediction, target, mask, 1.0, 0.0)) == pytest.approx(expected)


def test_visible_weight_is_normalised_over_the_masks_as_they_are_drawn(slots) -> None:
    prediction, target, mask = slots
    error = (prediction - target).square().mean(dim=(2, 3, 4))
    # Of 3 slots 1, 2 or 3 are masked, one time in three each: 2, 1 or 0 are visible, 1 of 3 on average.
    mean_weight = np.mean([(hidden * 1.0 + (3 - hidden) * 0.2) / 3 for hidden in (1, 2, 3)])
    expected = sum(float(error[b, v]) * (0.2 if mask[b, v] else 1.0) for b in range(2) for v in range(3)) / 6
    assert float(denoising_loss(prediction, target, mask, 0.2, 1 / 3)) == pytest.approx(expected / mean_weight)


def test_the_loss_of_a_batch_is_the_mean_of_its_canvases(slots) -> None:
    prediction, target, mask = slots
    parts = [denoising_loss(prediction[b : b + 1], target[b : b + 1], mask[b : b + 1], 0.2, 1 / 3) for b in range(2)]
    assert float(denoising_loss(prediction, target, mask, 0.2, 1 / 3)) == pytest.approx(float(sum(parts)) / 2)


def test_canvas_weights(slots) -> None:
    prediction, target, mask = slots
    per_canvas = [float((prediction[b] - target[b]).square().mean()) for b in range(2)]
    loss = denoising_loss(prediction, target, mask, 1.0, 0.0, torch.tensor([0.5, 2.0]))
    assert float(loss) == pytest.approx((0.5 * per_canvas[0] + 2.0 * per_canvas[1]) / 2)


@pytest.mark.parametrize("num_views", [2, 4, 6, 9])
@pytest.mark.parametrize("share", [None, 0.0, 0.1, 1.0])
def test_expected_share_of_visible_slots(num_views: int, share: float | None) -> None:
    generator = torch.Generator().manual_seed(1)
    masks = torch.stack([random_mask(num_views, generator, share) for _ in range(3000)])
    assert float(masks.mean()) == pytest.approx(visible_share(num_views, share), abs=0.02)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_right_prediction_stands_for_the_latents(prediction_type: str) -> None:
    scheduler = build_scheduler(prediction_type, zero_terminal_snr=prediction_type == "v_prediction")
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(2, 3, 4, 2, 2, generator=generator) for _ in range(2))
    timesteps = torch.tensor([10, 999])
    noisy = scheduler.add_noise(latents, noise, timesteps)
    target = prediction_target(scheduler, latents, noise, timesteps)
    assert torch.allclose(predicted_latents(scheduler, target, noisy, timesteps), latents, atol=1e-3)


def test_the_persons_cells_count_more_and_each_view_as_before() -> None:
    surface = torch.zeros(1, 2, 2, 2, 4)
    surface[0, 0, 0, :, 3] = torch.tensor([1.0, 0.5])
    weights = person_weights(surface, 3.0)
    # In the first view 1 + 2 * (1, 0.5, 0, 0), with mean 1.75.
    assert weights[0, 0].flatten().tolist() == pytest.approx([3 / 1.75, 2 / 1.75, 1 / 1.75, 1 / 1.75])
    assert torch.equal(weights[0, 1], torch.ones(2, 2))
    assert torch.equal(person_weights(surface, 1.0), torch.ones(1, 2, 2, 2))


def test_the_heads_cells_count_on_their_own() -> None:
    surface = torch.zeros(1, 1, 2, 2, 4)
    surface[..., 2] = torch.tensor([[0.7, 0.7], [0.5, -0.9]])
    surface[..., 3] = torch.tensor([[1.0, 0.5], [1.0, 0.0]])
    weights = person_weights(surface, 3.0, 9.0)
    wanted = torch.tensor([9.0, 1 + 8 * 0.5, 3.0, 1.0])
    torch.testing.assert_close(weights.flatten(), wanted / wanted.mean())
    torch.testing.assert_close(person_weights(surface, 3.0, 3.0), person_weights(surface, 3.0))


def test_cell_weights(slots) -> None:
    prediction, target, mask = slots
    cells = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    expected = 0.0
    for b, v, c, y, x in np.ndindex(2, 3, 4, 2, 2):
        error = float(prediction[b, v, c, y, x] - target[b, v, c, y, x]) ** 2
        expected += error * float(cells[b, v, y, x]) / 96
    assert float(denoising_loss(prediction, target, mask, 1.0, 0.0, cell_weights=cells)) == pytest.approx(expected)
