"""Stage 1 on fake people."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.pixels import bytes_to_signed, signed_to_bytes
from imagpose.training.autoencoder import AutoencoderConfig, AutoencoderStage, train_autoencoder
from imagpose.training.autoencoder.crops import _head_psnr, head_circle, noisy_latents
from imagpose.training.cache import render_views
from imagpose.training.stage import start_from

TINY = {"block_out_channels": [8, 12], "latent_channels": 6, "norm_num_groups": 2}


@pytest.fixture
def values(run_values: dict) -> dict:
    return run_values | {"model": TINY, "crop_size": 32}


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
    stage.vae = PatchAutoencoderKL.from_pretrained(config.output / "weights")
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
    stage.config = AutoencoderConfig.model_validate(values | {"reduced_fraction": 0})
    views = np.lib.stride_tricks.sliding_window_view(
        torch.stack([shard["pictures"] for shard in stage.cache._shards]).numpy(), (32, 32), axis=(3, 4)
    )
    for crop in signed_to_bytes(stage.batch(0, range(2))["pixels"]).movedim(-1, 1).numpy():
        found = (views == crop).all(axis=(-1, -2, -3)) | (views == crop[..., ::-1]).all(axis=(-1, -2, -3))
        assert found.any()


def test_views_made_smaller_are_cropped_or_stay_whole(values: dict, stage: AutoencoderStage) -> None:
    stage.config = AutoencoderConfig.model_validate(values | {"reduced_fraction": 0.5, "crop_size": 64})
    shapes = [tuple(stage.batch(step, range(2))["pixels"].shape[2:]) for step in range(200)]
    sides = np.array(shapes)
    assert shapes.count((64, 64)) / len(shapes) == pytest.approx(0.5 + 0.5 / 64, abs=0.08)  # 1/8 of each side rounds up
    assert set(sides.ravel().tolist()) == {32, 40, 48, 56, 64}
    assert (sides[:, 0] != sides[:, 1]).any()
    stage.config = AutoencoderConfig.model_validate(values | {"reduced_fraction": 1, "smallest_scale": 1.0})
    assert stage.batch(0, range(2))["pixels"].shape == (2, 3, 32, 32)


def test_a_view_made_smaller_shows_the_same(values: dict, stage: AutoencoderStage) -> None:
    stage.config = AutoencoderConfig.model_validate(values | {"reduced_fraction": 1, "crop_size": 64})
    small = next(pixels for pixels in (stage.batch(s, range(2))["pixels"] for s in range(99)) if pixels.shape[2] < 48)
    views = torch.cat([shard["pictures"].flatten(0, 1) for shard in stage.cache._shards])
    for picture in small:  # a view of two colours, or its mirror image, averaged over blocks
        means = functional.adaptive_avg_pool2d(picture, 4)
        known = functional.adaptive_avg_pool2d(bytes_to_signed(views), 4)
        distance = torch.minimum((known - means).abs().mean((1, 2, 3)), (known.flip(-1) - means).abs().mean((1, 2, 3)))
        assert float(distance.min()) < 0.05


def test_half_of_the_pictures_have_no_noise(values: dict, stage: AutoencoderStage) -> None:
    stage.config = AutoencoderConfig.model_validate(values | {"latent_noise": 0.4})
    levels = torch.cat([stage.batch(step, range(2))["noise_level"].flatten() for step in range(200)])
    assert float((levels == 0).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float(levels[levels > 0].mean()) == pytest.approx(0.2, abs=0.03) and float(levels.max()) < 0.4


def test_person_and_head_count_more(values: dict, stage: AutoencoderStage) -> None:
    person, head = stage.config.person_weight, stage.config.head_weight
    identities, views = np.arange(4), np.zeros(4, dtype=int)
    foreground = stage.cache.foreground(identities, views)
    weights = stage._weights(identities, views)
    keypoints = stage.cache.get("keypoints", identities, views).numpy()
    for own, shown, points in zip(weights.numpy(), foreground.numpy(), keypoints, strict=True):
        (x, y), (neck_x, neck_y) = points[[0, 14, 15, 16, 17], :2].mean(0), points[1, :2]
        radius = 0.85 * np.hypot(x - neck_x, y - neck_y)
        for row, column in np.ndindex(own.shape):
            expected = head if np.hypot(column - x, row - y) < radius else person
            assert own[row, column] == (expected if shown[row, column] else 1)
    assert {1, person, head} == set(weights.unique().tolist())
    # Crops take their weights along, mirrored or made smaller.
    batch = next(b for b in (stage.batch(step, range(2)) for step in range(99)) if float(b["weights"].max()) > person)
    assert batch["weights"].shape[2:] == batch["pixels"].shape[2:] and float(batch["weights"].min()) >= 1


def test_loss_is_its_equation_by_numpy(values: dict, stage: AutoencoderStage, monkeypatch) -> None:
    batch = stage.batch(1, range(2))
    output = torch.rand(batch["pixels"].shape, generator=torch.Generator().manual_seed(2)) * 2 - 1
    monkeypatch.setattr(stage.vae, "decode", lambda latents: type("Decoded", (), {"sample": output}))
    with torch.no_grad():
        loss, scalars = stage(batch)
        posterior = stage.vae.encode(batch["pixels"]).latent_dist
    error, weights = (batch[name].double().numpy() for name in ("pixels", "weights"))
    error = output.double().numpy() - error
    b, c, height, width = error.shape
    gradients = 0.0
    for scale in (1, 2, 4):
        coarse, shares = (
            own.reshape(b, -1, height // scale, scale, width // scale, scale).mean(axis=(3, 5))
            for own in (error, weights)
        )
        down, across = np.abs(np.diff(coarse, axis=2)), np.abs(np.diff(coarse, axis=3))
        gradients += (down * shares[:, :, :-1]).sum() / (c * shares[:, :, :-1].sum())
        gradients += (across * shares[..., :-1]).sum() / (c * shares[..., :-1].sum())
    absolute = (np.abs(error) * weights).sum() / (c * weights.sum())
    mean, variance = posterior.mean.double().numpy(), posterior.var.double().numpy()
    divergence = np.mean(0.5 * (mean**2 + variance - 1 - np.log(variance)))
    assert float(loss) == pytest.approx(absolute + 0.5 * gradients + 1e-3 * divergence, rel=1e-5)
    assert float(scalars["kl"]) == pytest.approx(divergence, rel=1e-5)


def test_loss_falls_to_the_divergence_for_a_perfect_copy(stage: AutoencoderStage, monkeypatch) -> None:
    batch = stage.batch(0, range(2))
    monkeypatch.setattr(stage.vae, "decode", lambda latents: type("Decoded", (), {"sample": batch["pixels"]}))
    loss, scalars = stage(batch)
    assert float(scalars["l1"]) == 0 and float(scalars["gradient"]) == 0
    assert float(loss.detach()) == pytest.approx(stage.config.kl_weight * float(scalars["kl"]), abs=1e-6)


def test_measures_of_a_perfect_copy_and_of_a_blur(stage: AutoencoderStage, monkeypatch) -> None:
    blur = torch.nn.AvgPool2d(5, 1, 2, count_include_pad=False)
    seen: list[torch.Tensor] = []

    def encode(pixels: torch.Tensor):
        seen.append(pixels)
        return type("Encoded", (), {"latent_dist": type("Posterior", (), {"mean": pixels})})

    monkeypatch.setattr(stage.vae, "encode", encode)
    measures = []
    for decode in (lambda latents: latents, blur):
        monkeypatch.setattr(stage.vae, "decode", lambda z, d=decode: type("Decoded", (), {"sample": d(z)}))
        measures.append(stage.validate())
    copy, blurred = measures
    assert {tuple(pixels.shape[2:]) for pixels in seen} == {(64, 64), (32, 32)}
    assert copy["psnr"] == 60 and copy["psnr_half"] == 60 and copy["gradient_ratio"] == 1
    # Noise of 0.2 spreads of pixels in [-1, 1]; a little is cut off at the ends of the range.
    spread = float(torch.cat([pixels for pixels in seen if pixels.shape[2] == 64]).std())
    assert copy["psnr_noise"] == pytest.approx(20 * np.log10(2 / (0.2 * spread)), abs=1.0)
    assert blurred["gradient_ratio"] < 0.95 and blurred["psnr"] < 40 and blurred["detail_correlation"] < 1


@torch.no_grad()
def test_a_channel_that_loses_its_spread_shows(stage: AutoencoderStage) -> None:
    def spreads() -> np.ndarray:
        pixels = stage.validation_cache.pixels(*stage.held_out(24))
        return stage.vae.encode(pixels).latent_dist.mean.double().numpy().std(axis=(0, 2, 3))

    before = spreads()
    assert stage.validate()["least_spread"] == pytest.approx(before.min() / before.mean(), rel=1e-3)
    stage.vae.quant_conv.weight[2] *= 0.01  # the first six of its twelve outputs are the means
    after = spreads()
    assert after[2] == pytest.approx(0.01 * before[2], rel=1e-3) and after.argmin() == 2
    assert stage.validate()["least_spread"] == pytest.approx(after[2] / after.mean(), rel=1e-3)


def test_held_out_pairs_differ(stage: AutoencoderStage) -> None:
    people, views = stage.held_out(200)  # 4 people of 6 views
    assert len(set(zip(people.tolist(), views.tolist(), strict=True))) == len(people) == 24
    assert sorted(people[:4]) == [0, 1, 2, 3]


def test_the_sheet_shows_people_reconstructions_and_enlarged_heads(stage: AutoencoderStage) -> None:
    with torch.no_grad():
        sheet = stage.sample_grid()
    assert sheet.shape == (2 * 64 + 2 * 192, 8 * 192, 3)
    people, views = stage.held_out(8)
    truth = stage.validation_cache.get("pictures", people, views).numpy()
    for column in range(8):
        left = column * 192
        np.testing.assert_array_equal(sheet[:64, left : left + 64], truth[column])
        np.testing.assert_array_equal(sheet[128 : 128 + 192 : 3, left : left + 192 : 3], truth[column])  # heads fill it


def test_a_resumed_run_repeats_the_uninterrupted_one(write_config, values: dict, tmp_path) -> None:
    whole = train_autoencoder(write_config(values | {"output": str(tmp_path / "whole")}))
    parts = write_config(values | {"output": str(tmp_path / "parts")})
    stopped = train_autoencoder(parts, stop_after=0.0)
    assert stopped.step == 1
    resumed = train_autoencoder(parts, resume="latest")
    assert stopped.losses + resumed.losses == whole.losses
    name = "weights/diffusion_pytorch_model.safetensors"
    ours, theirs = (load_file(tmp_path / run / name) for run in ("whole", "parts"))
    assert all(torch.equal(weight, theirs[key]) for key, weight in ours.items())


def test_noise_before_decoding_has_the_drawn_share_of_the_latents_spread(
    values: dict, stage: AutoencoderStage, monkeypatch
) -> None:
    stage.config = AutoencoderConfig.model_validate(values | {"latent_noise": 0.5})
    batch = next(b for b in (stage.batch(s, range(2)) for s in range(99)) if float(b["noise_level"].min()) > 0)
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
    wider = {**TINY, "block_out_channels": [8, 16]}
    config = AutoencoderConfig.model_validate(values | {"initial": tmp_path / "weights", "model": wider})
    with pytest.raises(ValueError, match=r"weights does not fit model: \d+ weights differ, first \S+"):
        AutoencoderStage(config)


def test_batches_of_heads_are_small_crops_about_them(values: dict, stage: AutoencoderStage) -> None:
    sizes = {"crop_size": 64, "head_fraction": 1, "head_crop_size": 32}
    stage.config = AutoencoderConfig.model_validate(values | sizes)
    batch = stage.batch(0, range(2))
    assert batch["pixels"].shape == (8, 3, 32, 32)  # as many pixels as two crops of 64
    marked = batch["weights"][:, 0] == stage.config.head_weight
    assert marked.any(-1).any(-1).all()  # every view of these people shows a head
    stage.config = AutoencoderConfig.model_validate(values | sizes | {"head_fraction": 0.5})
    shapes = [stage.batch(step, range(2))["pixels"].shape for step in range(200)]
    assert shapes.count((8, 3, 32, 32)) / 200 == pytest.approx(0.5, abs=0.1)


def test_a_crop_of_heads_larger_than_a_crop_is_refused(values: dict) -> None:
    with pytest.raises(ValueError, match=r"head_crop_size \(64\) is larger than crop_size \(32\)"):
        AutoencoderConfig.model_validate(values | {"head_crop_size": 64})


def test_psnr_of_heads_looks_at_heads_alone(stage: AutoencoderStage) -> None:
    people, views = stage.held_out(4)
    truths = stage.validation_cache.get("pictures", people, views)
    keypoints = stage.validation_cache.get("keypoints", people, views).numpy()
    outputs = truths.clone()
    for output, points in zip(outputs, keypoints, strict=True):
        head = head_circle(points)
        assert head is not None
        (x, y), radius = head
        rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        away = ((rows - y).abs() > radius + 1) | ((columns - x).abs() > radius + 1)
        output[away] = 255 - output[away]
    assert _head_psnr(outputs, truths, keypoints) == 60
    assert _head_psnr(255 - truths, truths, keypoints) < 10


def test_a_linear_decoder_adds_its_own_loss_and_is_not_exported(
    values: dict, stage: AutoencoderStage, tmp_path
) -> None:
    linear = AutoencoderStage(AutoencoderConfig.model_validate(values | {"linear_weight": 0.5}))
    start_from(linear.vae, stage.vae, tmp_path)
    batch = stage.batch(1, range(2))
    (plain, _), (loss, scalars) = stage(batch), linear(batch)
    latents = noisy_latents(linear.vae.encode(batch["pixels"]).latent_dist, batch)
    kernel, bias = linear.linear_decoder.weight, linear.linear_decoder.bias
    blocks = torch.einsum("bchw,cdyx->bdhywx", latents, kernel)
    error = blocks.reshape(batch["pixels"].shape) + bias[:, None, None] - batch["pixels"]
    expected = (error.abs() * batch["weights"]).sum() / (3 * batch["weights"].sum())
    assert float(scalars["linear"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(loss.detach()) == pytest.approx(float(plain.detach()) + 0.5 * float(expected.detach()), rel=1e-5)
    loss.backward()
    assert float(kernel.grad.abs().max()) > 0
    linear.export(tmp_path / "weights")
    assert not [
        name for name in load_file(tmp_path / "weights/diffusion_pytorch_model.safetensors") if "linear" in name
    ]
