"""The networks that judge generated people, on fake people and on drawn dots."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from imagpose.judges.identity import IdentityNetwork
from imagpose.judges.pose import PoseEstimator, keypoints_from_heatmaps
from imagpose.judges.silhouette import SilhouetteNetwork
from imagpose.pose import KEYPOINT_NAMES
from imagpose.training.cache import render_views
from imagpose.training.config import PoseEstimatorConfig, SilhouetteConfig
from imagpose.training.degrade import coarsen, degrade
from imagpose.training.judges import (
    PoseEstimatorStage,
    SilhouetteStage,
    emptied,
    heatmap_loss,
    move,
    soft_iou,
    train_identity,
    train_pose_estimator,
    train_silhouette,
)


@pytest.fixture
def config(run_values: dict) -> PoseEstimatorConfig:
    config = PoseEstimatorConfig.model_validate(run_values | {"batch_size": 3})
    render_views(config.data)
    render_views(config.validation)
    return config


def test_pictures_and_key_points_move_together(config: PoseEstimatorConfig) -> None:
    rng = np.random.default_rng(0)
    count, height, width, index = 12, 60, 80, KEYPOINT_NAMES.index("right_wrist")
    keypoints = torch.from_numpy(np.tile([40.0, 30.0, 1.0], (count, 18, 1)).astype(np.float32))
    keypoints[:, index, 0], keypoints[:, index, 1] = 52.0, 24.0
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    dot = torch.exp(-((columns - 52) ** 2 + (rows - 24) ** 2) / 8)
    pixels = dot.expand(count, 3, height, width)
    moved, places = move(pixels, keypoints, config, rng)
    swapped = 0
    for picture, points in zip(moved[:, 0], places, strict=True):
        weight = picture / picture.sum()
        found = torch.stack([(weight * columns).sum(), (weight * rows).sum()])
        left, right = points[KEYPOINT_NAMES.index("left_wrist"), :2], points[index, :2]
        mirrored = (found - left).norm() < (found - right).norm()
        swapped += int(mirrored)
        torch.testing.assert_close(found, left if mirrored else right, atol=0.3, rtol=0)
    assert 2 < swapped < 10


def test_a_key_point_that_leaves_the_picture_is_missing(config: PoseEstimatorConfig) -> None:
    keypoints = torch.zeros(40, 18, 3)
    keypoints[..., 0], keypoints[..., 1], keypoints[..., 2] = 1.0, 1.0, 1.0
    _, places = move(torch.zeros(40, 3, 64, 64), keypoints, config, np.random.default_rng(1))
    inside = ((places[..., :2] >= 0) & (places[..., :2] < 64)).all(dim=-1)
    assert torch.equal(places[..., 2] == 1, inside)
    assert 0 < inside.float().mean() < 1


def test_heatmap_loss_is_the_cross_entropy_computed_plainly() -> None:
    torch.manual_seed(0)
    logits, positions = torch.randn(1, 2, 3, 4), torch.tensor([[[6.0, 4.0], [14.0, 10.0]]])
    weights, share = [], torch.softmax(logits[0, 0].flatten(), 0)
    for row in range(3):
        for column in range(4):
            x, y = (column + 0.5) * 4, (row + 0.5) * 4
            weights.append(math.exp(-((x - 6) ** 2 + (y - 4) ** 2) / 32))
    expected = -sum(w / sum(weights) * math.log(p) for w, p in zip(weights, share.tolist(), strict=True))
    loss = heatmap_loss(logits, positions, torch.tensor([[1.0, 0.0]]))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_positions_are_read_between_the_cells() -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(24.0), indexing="ij")
    x, y = 34.6, 81.2
    logits = -((columns + 0.5 - x / 4) ** 2 + (rows + 0.5 - y / 4) ** 2) / 0.5
    logits[2, 2] = -5.0  # far away and lower: no share
    found = keypoints_from_heatmaps(logits[None, None])[0, 0]
    assert found.tolist() == pytest.approx([x, y], abs=0.1)


def test_the_estimator_takes_any_size() -> None:
    torch.manual_seed(0)
    network = PoseEstimator().eval()
    pixels = torch.rand(2, 3, 75, 51)
    with torch.no_grad():
        points = network.keypoints(pixels)
        alone = network.keypoints(pixels[1:])
    torch.testing.assert_close(points[1:], alone, atol=1e-3, rtol=1e-4)
    assert float(points[..., 2].min()) >= 0 and float(points[..., 2].max()) <= 1


def test_degrading_depends_on_the_generator_only_and_keeps_the_range() -> None:
    pixels = torch.rand(4, 3, 20, 16) * 2 - 1
    one, other = (degrade(pixels, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, other)
    assert float(one.abs().max()) <= 1
    assert not torch.allclose(one, pixels, atol=0.02)


def test_what_is_not_blurred_stays_as_sharp() -> None:
    checks = ((torch.arange(24)[:, None] + torch.arange(20)) % 2).float().expand(40, 3, 24, 20) - 0.5

    def swing(**options: bool) -> torch.Tensor:
        found = degrade(checks, torch.Generator().manual_seed(2), **options)
        return (found[..., 1:] - found[..., :-1]).abs().mean(dim=(1, 2, 3))

    assert float(swing(blur=False).min()) > 0.5
    assert 10 < int((swing() < 0.5).sum()) < 30


def test_the_pose_estimator_learns_and_is_exported(write_config, run_values: dict, config: PoseEstimatorConfig) -> None:
    values = run_values | {"steps": 30, "batch_size": 4, "learning_rate": 3e-3, "ema_decay": 0.5}
    outcome = train_pose_estimator(write_config(values))
    assert np.mean(outcome.losses[-5:]) < 0.9 * np.mean(outcome.losses[:5])
    assert set(outcome.validation) == {"found", "error_pixels", "presence"}
    network = PoseEstimator()
    network.load_state_dict(load_file(config.output / "weights" / "pose_estimator.safetensors"))


def test_key_points_move_with_the_padding(config: PoseEstimatorConfig) -> None:
    stage = PoseEstimatorStage(config)
    pixels, keypoints = torch.rand(2, 3, 75, 51) * 2 - 1, torch.rand(2, 18, 3) * 50
    padded = torch.nn.functional.pad(pixels, (6, 7, 10, 11), mode="replicate")  # 96x64
    with torch.no_grad():
        loss, _ = stage.forward({"pixels": pixels, "keypoints": keypoints})
        other, _ = stage.forward({"pixels": padded, "keypoints": keypoints + torch.tensor([6.0, 10.0, 0.0])})
    torch.testing.assert_close(loss, other)


def test_validation_measures_in_pixels(config: PoseEstimatorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = PoseEstimatorStage(config)
    cache = stage.validation_cache
    identities, views = np.repeat(np.arange(4), 6), np.tile(np.arange(6), 4)
    answers = iter((cache.get("keypoints", identities, views) + torch.tensor([3.0, 4.0, 0.0])).split(32))
    monkeypatch.setattr(stage.network, "keypoints", lambda pixels: next(answers))
    measures = stage.validate()
    assert measures["error_pixels"] == pytest.approx(5.0, rel=1e-5)
    assert measures["found"] == 0.0  # 5 pixels are more than 5 % of 64
    assert measures["presence"] == 1.0


def test_coarsening_leaves_out_what_is_small_and_keeps_what_is_large() -> None:
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(36), indexing="ij")
    checks = ((rows + columns) % 2).float() * 2 - 1
    halves = torch.where(columns < 18, -0.5, 0.5)
    pixels = torch.stack([checks, halves])[:, None].expand(2, 3, 24, 36)
    fine, plain = coarsen(pixels, 1.0, torch.Generator().manual_seed(0))
    assert float(fine[:, 4:-4, 4:-4].abs().max()) < 0.35
    torch.testing.assert_close(plain[:, :, 4:12], torch.full((3, 24, 8), -0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(plain[:, :, -12:-4], torch.full((3, 24, 8), 0.5), atol=0.02, rtol=0)
    assert torch.equal(coarsen(pixels, 0.0, torch.Generator()), pixels)


def test_soft_iou_of_masks_is_their_iou() -> None:
    one, other = torch.zeros(2, 4, 5), torch.zeros(2, 4, 5)
    one[0, :2], other[0, 1:3] = 1, 1  # 5 pixels in both, 15 in either
    assert soft_iou(one, other).tolist() == pytest.approx([1 / 3, 1.0], abs=1e-3)


def test_emptied_pictures_show_the_margin_only() -> None:
    width = 30
    pixels = torch.arange(width).float().expand(3, 3, 8, width).clone()
    foreground = torch.zeros(3, 8, width, dtype=torch.bool)
    foreground[:, 2:5, 15:20] = True
    foreground[1, 4, 3] = True  # reaches into the margin
    shown, mask = emptied(pixels, foreground, torch.tensor([True, True, False]))
    assert shown[0, 0, 0].tolist() == [*range(12), *reversed(range(12)), *range(6)]
    assert not mask[0].any()
    assert torch.equal(shown[1:], pixels[1:]) and torch.equal(mask[1:], foreground[1:])


def test_the_silhouette_network_learns_and_is_exported(write_config, run_values: dict) -> None:
    values = run_values | {"steps": 30, "batch_size": 4, "learning_rate": 3e-3, "ema_decay": 0.5}
    outcome = train_silhouette(write_config(values))
    assert np.mean(outcome.losses[-5:]) < 0.8 * np.mean(outcome.losses[:5])
    assert set(outcome.validation) == {"iou", "iou_degraded"}
    assert outcome.validation["iou"] > 0.2
    network = SilhouetteNetwork()
    network.load_state_dict(load_file(run_values["output"] + "/weights/silhouette.safetensors"))


def test_silhouettes_are_told_at_the_height_of_the_configuration(
    run_values: dict, config: PoseEstimatorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = run_values | {"batch_size": 8, "empty_probability": 0.0, "height": 32}
    stage = SilhouetteStage(SilhouetteConfig.model_validate(values))
    batch = stage.batch(0, range(8))
    assert batch["pixels"].shape == (8, 3, 32, 32) and batch["foreground"].shape == (8, 32, 32)
    assert set(batch["foreground"].flatten(1).sum(1).tolist()) <= set(range(15 * 15, 17 * 17 + 1))  # 32x32 of 64x64
    # An oracle at 32x32, of what differs from the ground: on the whole pictures its outline is a pixel off at most.
    seen = []

    def oracle(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels.shape[1:])
        difference = (pixels - pixels[..., :1, :1]).abs().sum(1)
        return (difference - 0.5 * difference.amax((1, 2), keepdim=True)).sign()

    monkeypatch.setattr(stage.network, "forward", oracle)
    assert stage.validate()["iou"] > 0.9
    assert set(seen) == {(3, 32, 32)}


def test_pictures_and_their_outline_are_mirrored_together(run_values: dict, config: PoseEstimatorConfig) -> None:
    values = run_values | {"batch_size": 24, "empty_probability": 0.0, "coarse_probability": 0.0}
    stage = SilhouetteStage(SilhouetteConfig.model_validate(values))
    batch = stage.batch(0, range(24))
    rows = [(person, view) for person in range(stage.cache.num_identities) for view in range(stage.cache.num_views)]
    identities, views = np.array(rows).T
    pictures, outlines = stage.cache.pixels(identities, views), stage.cache.foreground(identities, views)
    mirrored = 0
    for pixels, foreground in zip(batch["pixels"], batch["foreground"], strict=True):
        same = [(outlines == mask).flatten(1).all(1) for mask in (foreground, foreground.flip(-1))]
        plain, flipped = (
            (pixels - shown[match]).square().mean(dim=(1, 2, 3)).min() if match.any() else torch.tensor(torch.inf)
            for match, shown in ((same[0], pictures), (same[1], pictures.flip(-1)))
        )
        mirrored += int(flipped < plain)
        assert min(plain, flipped) < 0.2
    assert 4 < mirrored < 20


def test_the_identity_network_learns_and_is_exported(write_config, run_values: dict) -> None:
    values = run_values | {"steps": 25, "batch_size": 6, "learning_rate": 2e-3, "plain_probability": 0.0}
    outcome = train_identity(write_config(values))
    assert np.mean(outcome.losses[-5:]) < 0.7 * np.mean(outcome.losses[:5])
    network = IdentityNetwork()
    network.load_state_dict(load_file(run_values["output"] + "/weights/identity.safetensors"))
    with torch.no_grad():
        lengths = network.eval()(torch.rand(2, 3, 64, 48)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(2))
