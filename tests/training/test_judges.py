"""Training of the networks that judge generated people, on fake people."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from imagpose.judges.identity import IdentityNetwork
from imagpose.judges.pose import PoseEstimator
from imagpose.judges.silhouette import SilhouetteNetwork
from imagpose.training.cache import render_views
from imagpose.training.judges import (
    PoseEstimatorConfig,
    PoseEstimatorStage,
    SilhouetteConfig,
    SilhouetteStage,
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
