"""Draws, targets, weights and loss of Eq. 4 against counts, plain loops and hand-computed values."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from imagpose.models.scheduler import build_scheduler
from imagpose.training.objective import (
    CanvasDraw,
    DrawSettings,
    denoising_loss,
    draw_canvases,
    draw_noise,
    min_snr_weights,
    prediction_target,
    timestep_probabilities,
)
from imagpose.training.stage import keyed_rng
from imagpose.views import ViewGrid

GRIDS = ((ViewGrid(2, 2), 0.75), (ViewGrid(1, 3), 0.25))


def settings(**changes) -> DrawSettings:
    values = {
        "seed": 1,
        "global_batch": 400,
        "view_counts": np.full(50, 6),
        "timestep_probabilities": np.full(1000, 0.001),
        "grids": GRIDS,
        "feature_dropout": 0.05,
        "source_pose_dropout": 0.1,
        "repeat_probability": 0.0,
    }
    return DrawSettings(**(values | changes))


@pytest.fixture(scope="module")
def draws() -> list[CanvasDraw]:
    return [draw_canvases(settings(), step, range(400)) for step in range(60)]


def rate(hits: torch.Tensor | np.ndarray) -> float:
    return float(np.asarray(hits).mean())


def test_feature_dropout_rates(draws: list[CanvasDraw]) -> None:
    tokens = torch.cat([draw.keep_image_tokens for draw in draws]) == 0
    texture = torch.cat([draw.keep_texture for draw in draws]) == 0
    assert rate(tokens & ~texture) == pytest.approx(0.05, abs=0.007)
    assert rate(texture & ~tokens) == pytest.approx(0.05, abs=0.007)
    assert rate(tokens & texture) == pytest.approx(0.05, abs=0.007)


def test_source_pose_dropout_rate(draws: list[CanvasDraw]) -> None:
    assert rate(torch.cat([draw.keep_source_poses for draw in draws]) == 0) == pytest.approx(0.1, abs=0.01)


def test_number_of_masked_slots_is_uniform(draws: list[CanvasDraw]) -> None:
    masked = torch.cat([4 - draw.mask.sum(dim=1) for draw in draws if draw.grid == ViewGrid(2, 2)])
    for count in range(1, 5):
        assert rate(masked == count) == pytest.approx(0.25, abs=0.02)


def test_grids_are_drawn_by_their_shares() -> None:
    grids = [draw_canvases(settings(), step, range(1)).grid for step in range(800)]
    assert grids.count(ViewGrid(2, 2)) / 800 == pytest.approx(0.75, abs=0.05)
    others = [draw_canvases(settings(), step, range(3, 4)).grid for step in range(800)]
    assert others == grids


def test_timesteps_cover_the_schedule(draws: list[CanvasDraw]) -> None:
    timesteps = torch.cat([draw.timesteps for draw in draws])
    assert timesteps.min() == 0 and timesteps.max() == 999
    assert float(timesteps.float().mean()) == pytest.approx(499.5, abs=8)


def test_slots_show_different_views_and_features_come_from_a_visible_one(draws: list[CanvasDraw]) -> None:
    chosen_slots = []
    for draw in draws:
        visible = draw.mask.numpy() > 0
        for views, seen, feature in zip(draw.views, visible, draw.feature_views, strict=True):
            assert len(set(views)) == len(views)
            if seen.any():
                assert feature in views[seen]
                chosen_slots.append(list(views[seen]).index(feature))
            else:
                assert feature not in views
    assert {0, 1, 2} <= set(chosen_slots)


def test_features_of_a_masked_canvas_that_holds_all_views() -> None:
    draw = draw_canvases(settings(view_counts=np.full(50, 4), grids=GRIDS[:1]), 0, range(400))
    assert (draw.mask.sum(dim=1) == 0).any()
    assert set(draw.feature_views) == {0, 1, 2, 3}


def test_repeated_views_as_t1_and_t2_lay_them() -> None:
    draw = draw_canvases(settings(repeat_probability=0.25, grids=GRIDS[:1]), 0, range(8000))
    visible = draw.mask.numpy() > 0
    for slots in (visible, ~visible):
        several = (slots.sum(axis=1) > 1) & visible.any(axis=1)
        repeated = [len(set(views[chosen])) == 1 for views, chosen in zip(draw.views, slots, strict=True)]
        different = [len(set(views[chosen])) == chosen.sum() for views, chosen in zip(draw.views, slots, strict=True)]
        assert np.mean(np.array(repeated)[several]) == pytest.approx(0.25, abs=0.03)
        assert np.mean(np.array(different)[several]) == pytest.approx(0.75, abs=0.03)
    for views, seen in zip(draw.views, visible, strict=True):
        assert not set(views[seen]) & set(views[~seen])


def test_a_sample_depends_on_seed_step_and_its_number_only() -> None:
    whole = draw_canvases(settings(), 5, range(12))
    parts = [draw_canvases(settings(), 5, samples) for samples in (range(4), range(4, 12))]
    for name in ("identities", "views", "mask", "feature_views", "timesteps", "keep_image_tokens", "keep_source_poses"):
        joined = np.concatenate([np.asarray(getattr(part, name)) for part in parts])
        assert np.array_equal(getattr(whole, name), joined), name
    assert whole.samples == parts[0].samples + parts[1].samples
    for changes, step in (({}, 6), ({"seed": 2}, 5)):
        other = draw_canvases(settings(**changes), step, range(12))
        assert not np.array_equal(whole.identities, other.identities)
        assert not torch.equal(whole.timesteps, other.timesteps)


def test_each_identity_comes_once_per_epoch_in_another_order() -> None:
    few = settings(global_batch=5, view_counts=np.full(20, 6))
    numbers = np.concatenate([draw_canvases(few, step, range(5)).identities for step in range(8)])
    first, second = numbers[:20].tolist(), numbers[20:].tolist()
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_identities_with_few_views_never_show_a_source_as_target() -> None:
    counts = np.array([2, 3, 4, 9])
    draw = draw_canvases(settings(global_batch=4, view_counts=counts, grids=GRIDS[:1]), 0, range(400))
    for identity, views, mask in zip(draw.identities, draw.views, draw.mask.numpy(), strict=True):
        assert views.max() < counts[identity] and len(set(views)) >= min(2, counts[identity])
        assert not set(views[mask > 0]) & set(views[mask == 0])
    assert draw.views.max() > 6


def test_the_first_sample_does_not_repeat_the_draw_of_the_grid() -> None:
    assert keyed_rng(3, 5).random() != keyed_rng(3, 5, 0).random()
    assert keyed_rng(3, 5, 0).random() == keyed_rng(3, 5, 0).random()


def test_noise_of_a_sample_is_its_own() -> None:
    keys = [(1, 2, sample) for sample in range(3)]
    noise = draw_noise(keys, (2, 4, 3, 3), 0.0)
    assert torch.equal(noise[2:], draw_noise(keys[2:], (2, 4, 3, 3), 0.0))
    assert not torch.equal(noise[0], noise[1])


def test_noise_offset_is_one_constant_per_view_and_channel() -> None:
    keys = [(1, 2, sample) for sample in range(500)]
    plain, shifted = draw_noise(keys, (2, 4, 3, 3), 0.0), draw_noise(keys, (2, 4, 3, 3), 0.1)
    offset = shifted - plain
    assert torch.allclose(offset, offset[..., :1, :1].expand_as(offset), atol=1e-6)
    constants = offset[..., 0, 0]
    assert float(constants.std()) == pytest.approx(0.1, rel=0.05) and abs(float(constants.mean())) < 0.01
    assert len(constants.unique()) > 3900


def scheduler_with(prediction_type: str) -> DDIMScheduler:
    """alphas_cumprod 0.9, 0.72, 0.36, 0.036 at timesteps 0 to 3: SNR 9, 18/7, 9/16, 9/241."""
    return DDIMScheduler(trained_betas=[0.1, 0.2, 0.5, 0.9], num_train_timesteps=4, prediction_type=prediction_type)


@pytest.mark.parametrize(
    ("prediction_type", "expected"),
    [("epsilon", [5 / 9, 1, 1, 1]), ("v_prediction", [5 / 10, 18 / 25, 9 / 25, 9 / 250])],
)
def test_min_snr_weights_by_hand(prediction_type: str, expected: list[float]) -> None:
    weights = min_snr_weights(scheduler_with(prediction_type), torch.arange(4), gamma=5.0)
    assert weights.tolist() == pytest.approx(expected, rel=1e-4)


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
    assert float(denoising_loss(prediction, target, mask, 1.0, None)) == pytest.approx(expected)


def test_visible_weight_is_normalised_over_the_masks_as_they_are_drawn(slots) -> None:
    prediction, target, mask = slots
    error = (prediction - target).square().mean(dim=(2, 3, 4))
    # Of 3 slots 1, 2 or 3 are masked, one time in three each: 2, 1 or 0 are visible, 1 of 3 on average.
    mean_weight = np.mean([(hidden * 1.0 + (3 - hidden) * 0.2) / 3 for hidden in (1, 2, 3)])
    expected = sum(float(error[b, v]) * (0.2 if mask[b, v] else 1.0) for b in range(2) for v in range(3)) / 6
    assert float(denoising_loss(prediction, target, mask, 0.2, None)) == pytest.approx(expected / mean_weight)


def test_the_loss_of_a_batch_is_the_mean_of_its_canvases(slots) -> None:
    prediction, target, mask = slots
    parts = [denoising_loss(prediction[b : b + 1], target[b : b + 1], mask[b : b + 1], 0.2, None) for b in range(2)]
    assert float(denoising_loss(prediction, target, mask, 0.2, None)) == pytest.approx(float(sum(parts)) / 2)


def test_canvas_weights(slots) -> None:
    prediction, target, mask = slots
    per_canvas = [float((prediction[b] - target[b]).square().mean()) for b in range(2)]
    loss = denoising_loss(prediction, target, mask, 1.0, torch.tensor([0.5, 2.0]))
    assert float(loss) == pytest.approx((0.5 * per_canvas[0] + 2.0 * per_canvas[1]) / 2)


def test_timesteps_follow_their_probabilities() -> None:
    """A thousand draws beside the shares computed from the schedule by hand."""
    scheduler = build_scheduler("v_prediction", zero_terminal_snr=True)
    assert timestep_probabilities(scheduler, 0.0) == pytest.approx(np.full(1000, 0.001))
    probabilities = timestep_probabilities(scheduler, 2.0)
    noise = 1 - scheduler.alphas_cumprod.numpy().astype(float)
    assert probabilities[600] / probabilities[200] == pytest.approx((noise[600] / noise[200]) ** 2, rel=1e-4)
    draws = [
        draw_canvases(settings(timestep_probabilities=probabilities), step, range(8)).timesteps for step in range(125)
    ]
    timesteps = torch.cat(draws).numpy()
    for first in range(0, 1000, 250):
        share = np.mean((timesteps >= first) & (timesteps < first + 250))
        assert share == pytest.approx(probabilities[first : first + 250].sum(), abs=0.05)
