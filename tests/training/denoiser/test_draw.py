"""Everything random about the denoiser's canvases, against counts, closed forms and what must not change it."""

import numpy as np
import pytest
import torch

from imagpose.training.denoiser.draw import (
    CanvasDraw,
    DrawSettings,
    Recipe,
    canvases_before,
    draw_batch,
    draw_canvases,
    draw_items,
    draw_noise,
    draw_timesteps,
    step_layout,
)
from imagpose.training.stage import keyed_rng
from imagpose.views import ViewGrid

GRIDS = ((ViewGrid(2, 2), 0.75), (ViewGrid(1, 3), 0.25))


def settings(**changes) -> DrawSettings:
    values = {
        "seed": 1,
        "batch_size": 400,
        "batches": 1,
        "view_counts": np.full(50, 6),
        "num_timesteps": 1000,
        "grids": GRIDS,
        "feature_dropout": 0.05,
        "source_pose_dropout": 0.1,
        "repeat_probability": 0.0,
    }
    return DrawSettings(**(values | changes))


@pytest.fixture(scope="module")
def draws() -> list[CanvasDraw]:
    chosen = settings()
    return [draw_canvases(chosen, step, range(400)) for step in range(40)]


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
    chosen = settings()
    grids = [draw_canvases(chosen, step, range(1)).grid for step in range(800)]
    assert grids.count(ViewGrid(2, 2)) / 800 == pytest.approx(0.75, abs=0.05)
    others = [draw_canvases(chosen, step, range(3, 4)).grid for step in range(800)]
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
    few = settings(batch_size=5, view_counts=np.full(20, 6), grids=GRIDS[:1])
    numbers = np.concatenate([draw_canvases(few, step, range(5)).identities for step in range(8)])
    first, second = numbers[:20].tolist(), numbers[20:].tolist()
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_identities_with_few_views_never_show_a_source_as_target() -> None:
    counts = np.array([2, 3, 4, 9])
    draw = draw_canvases(settings(batch_size=4, view_counts=counts, grids=GRIDS[:1]), 0, range(400))
    for identity, views, mask in zip(draw.identities, draw.views, draw.mask.numpy(), strict=True):
        assert views.max() < counts[identity] and len(set(views)) >= min(2, counts[identity])
        assert not set(views[mask > 0]) & set(views[mask == 0])
    assert draw.views.max() > 6


def test_the_first_sample_does_not_repeat_the_draw_of_the_grid() -> None:
    assert keyed_rng(3, 5).random() != keyed_rng(3, 5, 0).random()
    assert keyed_rng(3, 5, 0).random() == keyed_rng(3, 5, 0).random()


def test_noise_of_a_sample_is_its_own() -> None:
    keys = [(1, 2, sample) for sample in range(3)]
    noise = draw_noise(keys, (2, 16, 3, 3), 0.0)
    assert torch.equal(noise[2:], draw_noise(keys[2:], (2, 16, 3, 3), 0.0))
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize("per_view", [False, True])
def test_noise_offset_is_one_constant_per_channel_of_a_canvas_or_of_a_view(per_view: bool) -> None:
    keys = [(1, 2, sample) for sample in range(500)]
    plain, shifted = draw_noise(keys, (2, 16, 3, 3), 0.0), draw_noise(keys, (2, 16, 3, 3), 0.1, per_view)
    offset = shifted - plain
    assert torch.allclose(offset, offset[..., :1, :1].expand_as(offset), atol=1e-6)
    constants = offset[..., 0, 0]
    assert float(constants.std()) == pytest.approx(0.1, rel=0.05) and abs(float(constants.mean())) < 0.01
    correlation = torch.corrcoef(constants.movedim(1, 0).flatten(1))[0, 1]
    assert float(correlation) == pytest.approx(0 if per_view else 1, abs=0.05)
    assert len(constants[:, 0].unique()) > 7800


@pytest.mark.parametrize(("shift", "pure", "above_900"), [(1.0, 0.0, 0.1), (5.0, 0.0, 5 / 14), (3.0, 0.25, 0.4375)])
def test_timesteps_are_shifted_as_the_closed_form_says(shift: float, pure: float, above_900: float) -> None:
    """P(t / T > x) = 1 - x / (s - (s - 1) x) of what is not at the last timestep; for s = 3 and x = 0.9: 1/4."""
    uniform = (np.arange(200_000) + 0.5) / 200_000
    timesteps = draw_timesteps(uniform, 1000, Recipe(timestep_shift=shift, pure_noise_share=pure))
    assert timesteps.min() == 0 and timesteps.max() == 999
    for x in (0.1, 0.5, 0.9):
        expected = pure + (1 - pure) * (1 - x / (shift - (shift - 1) * x))
        assert rate(timesteps >= 1000 * x) == pytest.approx(expected, abs=1e-3)
    assert rate(timesteps >= 900) == pytest.approx(above_900, abs=1e-3)
    if pure:
        rest = 1 - 0.999 / (shift - (shift - 1) * 0.999)
        assert rate(timesteps == 999) == pytest.approx(pure + (1 - pure) * rest, abs=1e-3)


def test_pure_noise_alone_is_the_last_timestep() -> None:
    uniform = np.array([0.0, 0.5, 1 - 2**-53])
    assert draw_timesteps(uniform, 1000, Recipe(pure_noise_share=1.0)).tolist() == [999, 999, 999]


def test_steps_show_about_as_many_views_whatever_their_grid() -> None:
    grids = tuple((ViewGrid(*sides), 1.0) for sides in ((2, 2), (1, 2), (2, 3), (3, 3), (4, 5)))
    wanted = {"2x2": 8, "1x2": 16, "2x3": 5, "3x3": 4, "4x5": 2}  # 32 views in two batches
    recipes = ((0, Recipe(low_resolution_share=0.5)),)
    chosen = settings(batch_size=4, batches=2, view_counts=np.full(50, 20), grids=grids, recipes=recipes)
    halves = []
    for step in range(200):
        layout = step_layout(chosen, step)
        halves.append(layout.half)
        assert layout.canvases == wanted[str(layout.grid)] * (4 if layout.half else 1)
        batches = [draw_batch(chosen, step, range(first, first + 4)) for first in (0, 4)]
        assert [key[2] for batch in batches for key in batch.samples] == list(range(layout.canvases))
        assert {len(batch.mask) for batch in batches} <= {layout.canvases // 2, -(-layout.canvases // 2)}
        assert sum(batch.weight for batch in batches) == pytest.approx(2) and batches[0].half == layout.half
    assert rate(np.array(halves)) == pytest.approx(0.5, abs=0.12)
    with pytest.raises(ValueError, match="no batch of 4"):
        draw_batch(chosen, 0, range(2, 6))


def test_identities_come_in_epochs_whatever_the_layouts() -> None:
    recipes = ((0, Recipe(low_resolution_share=0.5)), (10, Recipe()))
    chosen = settings(batch_size=4, view_counts=np.full(60, 6), recipes=recipes)
    drawn = [draw_batch(chosen, step, range(4)).identities for step in range(40)]
    assert [canvases_before(chosen, step) for step in (1, 40)] == [len(drawn[0]), sum(map(len, drawn))]
    epochs = np.concatenate(drawn)[:120].reshape(2, 60)
    assert all(sorted(epoch) == list(range(60)) for epoch in epochs.tolist())
    resumed = settings(batch_size=4, view_counts=np.full(60, 6), recipes=recipes)
    assert np.array_equal(draw_batch(resumed, 39, range(4)).identities, drawn[39])


def test_a_recipe_lasts_until_the_next_begins() -> None:
    recipes = ((0, Recipe(low_resolution_share=1.0, pure_noise_share=1.0)), (3, Recipe()))
    chosen = settings(batch_size=8, recipes=recipes)
    for step in range(8):
        draw = draw_batch(chosen, step, range(8))
        assert draw.half == (step < 3)
        assert bool((draw.timesteps == 999).all()) == (step < 3)


def test_all_masked_canvases_have_their_share() -> None:
    draw = draw_canvases(settings(all_masked_share=0.1, grids=GRIDS[:1]), 0, range(8000))
    masked = 4 - draw.mask.sum(dim=1)
    shares = [rate(masked == count) for count in range(5)]
    assert shares == pytest.approx([0, 0.3, 0.3, 0.3, 0.1], abs=0.02)


def test_a_step_does_not_depend_on_how_it_is_shared_out() -> None:
    """The weights make the mean of the batches' means the mean over the step's canvases."""
    grids = ((ViewGrid(2, 3), 1.0),)
    whole = draw_batch(settings(batch_size=4, grids=grids), 7, range(4))
    halves = [draw_batch(settings(batch_size=2, batches=2, grids=grids), 7, range(n, n + 2)) for n in (0, 2)]
    assert [len(half.mask) for half in halves] == [1, 2]
    assert np.array_equal(whole.identities, np.concatenate([half.identities for half in halves]))
    assert torch.equal(whole.timesteps, torch.cat([half.timesteps for half in halves]))
    means = [half.weight * float(half.timesteps.double().mean()) for half in halves]
    assert np.mean(means) == pytest.approx(float(whole.timesteps.double().mean()))


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_fixed_list_is_the_same_in_batches_of_any_size(batch_size: int) -> None:
    grids = (*GRIDS, (ViewGrid(2, 3), 0.5))

    def drawn(size: int) -> dict[tuple[int, int, int], tuple]:
        found = {}
        for draw in draw_items(settings(batch_size=size, grids=grids), 40):
            assert len(draw.mask) <= max(1, round(size * 4 / draw.grid.num_views)) and draw.weight == 1
            for row, key in enumerate(draw.samples):
                own = (draw.identities[row], *draw.views[row], draw.timesteps[row], *draw.mask[row])
                found[key] = (draw.grid, *(float(value) for value in own))
        return found

    items = drawn(batch_size)
    assert items == drawn(5) and sorted(items) == [(1, item, 0) for item in range(40)]
    assert len({item[0] for item in items.values()}) == 3 and len({item[1] for item in items.values()}) == 40
