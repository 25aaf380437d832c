"""Stage 1 on fake people."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from imagpose.training.autoencoder import AutoencoderStage, to_bytes, train_autoencoder
from imagpose.training.cache import render_views
from imagpose.training.config import AutoencoderConfig

TINY = {"block_out_channels": [4, 4, 8, 8], "norm_num_groups": 2}


@pytest.fixture
def values(run_values: dict) -> dict:
    return run_values | {"model": TINY, "crop_size": 32, "texture_long_side": 256}


@pytest.fixture
def stage(values: dict) -> AutoencoderStage:
    config = AutoencoderConfig.model_validate(values)
    render_views(config.data)
    render_views(config.validation)
    return AutoencoderStage(config)


@torch.no_grad()
def mean_loss(stage: AutoencoderStage) -> float:
    return float(np.mean([float(stage(stage.batch(step, range(2)))[0]) for step in range(12)]))


def test_a_run_learns_and_its_weights_are_scaled_to_unit_latents(write_config, values: dict) -> None:
    outcome = train_autoencoder(write_config(values | {"steps": 40, "learning_rate": 3e-3, "ema_decay": 0.5}))
    assert outcome.validation["psnr"] > 5
    config = AutoencoderConfig.model_validate(values)
    stage = AutoencoderStage(config)
    fresh = mean_loss(stage)
    stage.vae = AutoencoderKL.from_pretrained(config.output / "weights")
    assert mean_loss(stage) < 0.9 * fresh
    with torch.no_grad():
        pixels = stage.cache.pixels(np.arange(8), np.arange(8) % 6)
        latents = stage.vae.encode(pixels).latent_dist.mean * stage.vae.config.scaling_factor
    assert float(latents.std()) == pytest.approx(1.0, abs=0.02)


def test_a_batch_depends_on_seed_and_step_only(stage: AutoencoderStage) -> None:
    again = stage.batch(7, range(2))
    for name, tensor in stage.batch(7, range(2)).items():
        assert torch.equal(tensor, again[name])
    assert not torch.equal(stage.batch(8, range(2))["noise"], again["noise"])
    assert not torch.equal(stage.batch(7, range(2, 4))["noise"], again["noise"])


def test_crops_are_cut_from_cached_views(values: dict, stage: AutoencoderStage) -> None:
    stage.config = AutoencoderConfig.model_validate(values | {"whole_fraction": 0, "enlarged_fraction": 0})
    views = np.lib.stride_tricks.sliding_window_view(
        torch.stack([shard["pictures"] for shard in stage.cache._shards]).numpy(), (32, 32), axis=(3, 4)
    )
    crop = to_bytes(stage.batch(0, range(2))["pixels"])[0].movedim(-1, 0).numpy()
    found = (views == crop).all(axis=(-1, -2, -3)) | (views == crop[..., ::-1]).all(axis=(-1, -2, -3))
    assert found.any()


def test_batches_mix_crops_whole_views_and_enlarged_crops(stage: AutoencoderStage) -> None:
    shapes = [tuple(stage.batch(step, range(2))["pixels"].shape[2:]) for step in range(200)]
    assert shapes.count((64, 64)) / len(shapes) == pytest.approx(stage.config.whole_fraction, abs=0.08)
    assert set(shapes) == {(64, 64), (32, 32)}


def test_loss_falls_to_the_divergence_for_a_perfect_copy(stage: AutoencoderStage, monkeypatch) -> None:
    batch = stage.batch(0, range(2))
    monkeypatch.setattr(stage.vae, "decode", lambda latents: type("Decoded", (), {"sample": batch["pixels"]}))
    loss, scalars = stage(batch)
    assert float(scalars["l1"]) == 0 and float(scalars["gradient"]) == 0
    assert float(scalars["ssim"]) == pytest.approx(1.0)
    assert float(loss.detach()) == pytest.approx(stage.config.kl_weight * float(scalars["kl"]), abs=1e-6)


def test_noise_before_decoding_has_the_drawn_share_of_the_latents_spread(
    values: dict, stage: AutoencoderStage, monkeypatch
) -> None:
    stage.config = AutoencoderConfig.model_validate(values | {"latent_noise": 0.5})
    batch = stage.batch(3, range(2))
    assert float(batch["noise_level"].min()) > 0 and float(batch["noise_level"].max()) < 0.5
    decoded = []

    def decode(latents: torch.Tensor):
        decoded.append(latents)
        return type("Decoded", (), {"sample": batch["pixels"]})

    monkeypatch.setattr(stage.vae, "decode", decode)
    stage(batch)
    posterior = stage.vae.encode(batch["pixels"]).latent_dist
    spread = batch["noise_level"] * posterior.mean.std()
    expected = posterior.mean + torch.sqrt(posterior.std**2 + spread**2) * batch["noise"]
    torch.testing.assert_close(decoded[0], expected)


def test_a_run_starts_from_exported_weights(values: dict, stage: AutoencoderStage, tmp_path) -> None:
    with torch.no_grad():
        stage.export(tmp_path / "weights")
    other = AutoencoderStage(AutoencoderConfig.model_validate(values | {"initial": tmp_path / "weights", "seed": 5}))
    for name, tensor in stage.vae.state_dict().items():
        assert torch.equal(tensor, other.vae.state_dict()[name]), name


def test_identities_outside_their_split_are_refused(write_config, values: dict) -> None:
    with pytest.raises(ValueError, match="validation: seeds 0"):
        train_autoencoder(write_config(values), ["validation.first_seed=0"])
    with pytest.raises(ValueError, match="data: seeds 1999998"):
        train_autoencoder(write_config(values), ["data.first_seed=1999998"])


def test_initial_weights_that_are_missing_or_do_not_fit(values: dict, stage: AutoencoderStage, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        AutoencoderStage(AutoencoderConfig.model_validate(values | {"initial": tmp_path / "no" / "nowhere"}))
    with torch.no_grad():
        stage.export(tmp_path / "weights")
    wider = {"block_out_channels": [4, 4, 8, 16], "norm_num_groups": 2}
    config = AutoencoderConfig.model_validate(values | {"initial": tmp_path / "weights", "model": wider})
    with pytest.raises(ValueError, match=r"weights does not fit model: \d+ weights differ, first \S+"):
        AutoencoderStage(config)
