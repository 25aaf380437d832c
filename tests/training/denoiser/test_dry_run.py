"""What a run needs, counted before it: against tensors counted by hand, and against itself."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from tiny_networks import UNET
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPConfig, CLIPVisionConfig, CLIPVisionModel
from typer.testing import CliRunner

from imagpose.cli.commands import app
from imagpose.models.presets import STABLE_DIFFUSION_VAE
from imagpose.training.denoiser import dry_run
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.dry_run import GPUS, SHARE, Made, StepNeeds, step_needs
from imagpose.views import ViewGrid

WHOLE = 100 * 4
PEAK = "activations and gradients, at their peak"


@pytest.fixture
def values(run_values: dict) -> dict:
    return run_values | {"unet": UNET, "texture_long_side": 128, "batch_size": 8, "learning_rate": 1e-4}


def test_live_tensors_are_counted_and_views_and_weights_are_not() -> None:
    with FakeTensorMode():
        weight = torch.randn(100)
        with Made([weight]) as made:
            first = torch.randn(100)
            second = first * weight.detach()
            assert made.now == made.peak == 2 * WHOLE
            del first
            assert made.now == WHOLE
            halves = second[:50], second.view(10, 10)
            assert made.now == WHOLE
            third = second.double()
            assert made.now == made.peak == 3 * WHOLE
            del second, halves, third
            assert made.now == 0 and made.peak == 3 * WHOLE


def test_parts_follow_from_weights_and_settings(values: dict) -> None:
    plain = step_needs(DenoiserConfig.model_validate(values))
    changes = {"optimizer": "adamw8bit", "ema_on_cpu": True, "gradient_checkpointing": True}
    saving = step_needs(DenoiserConfig.model_validate(values | changes))
    weights = plain.parts["weights"]
    buckets = {"gradients, summed over GPUs": weights}
    assert step_needs(DenoiserConfig.model_validate(values), gpus=2).parts == plain.parts | buckets
    assert plain.parts["moments of AdamW"] == 2 * weights and plain.parts["EMA weights"] == weights
    assert plain.ema_on_cpu == 0 and saving.ema_on_cpu == weights and "EMA weights" not in saving.parts
    assert saving.parts["moments of AdamW"] < 2 * weights
    assert plain.flops < saving.flops < 4 / 3 * plain.flops  # the UNet's blocks pass forward once more


def test_the_frozen_networks_are_those_that_the_configuration_names(values: dict, tmp_path) -> None:
    small = CLIPVisionConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    CLIPConfig(vision_config=small.to_dict()).save_pretrained(tmp_path / "clip")
    vae = AutoencoderKL(
        **STABLE_DIFFUSION_VAE | {"block_out_channels": (8, 8, 8, 8)}, latent_channels=16, norm_num_groups=4
    )
    vae.save_config(tmp_path / "vae")
    named = {"image_encoder": str(tmp_path / "clip"), "autoencoder": str(tmp_path / "vae")}
    found = step_needs(DenoiserConfig.model_validate(values | named))
    networks = [CLIPVisionModel(small), vae]
    assert found.parts["frozen networks"] == 4 * sum(own.numel() for each in networks for own in each.parameters())
    known = step_needs(DenoiserConfig.model_validate(values | {"image_encoder": "facebook/dinov2-base"}))
    plain = step_needs(DenoiserConfig.model_validate(values))
    assert known.parts["frozen networks"] - plain.parts["frozen networks"] > 4 * 80e6  # DINOv2-B has 86.6 million
    absent = DenoiserConfig.model_validate(values | {"image_encoder": "owner/name"})
    assert step_needs(absent).parts == plain.parts


def test_days_are_computed_or_follow_from_a_measured_rate(
    values: dict, write_config, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = StepNeeds({"weights": 2**30, PEAK: 2**31}, 0, 2e12, 2, ViewGrid(2, 2))
    monkeypatch.setattr(dry_run, "step_needs", lambda *_: needs)
    path = write_config(values | {"steps": 43_200, "batch_size": 2, "global_batch": 8})
    measured = dry_run.dry_run(path, gpus=2, rate=4.0)
    said = dry_run.dry_run(path, ["image_encoder=owner/name", "autoencoder=not/there"]).splitlines()[0]
    assert "the preset's image encoder in place of owner/name" in said and "autoencoder in place of not/there" in said
    assert "in place of" not in dry_run.dry_run(path, ["image_encoder=facebook/dinov2-base"])
    assert "2 GPUs x 2 batches a step" in measured and "345,600 canvases" in measured
    assert "| together | 3.00 |" in measured
    assert measured.endswith("at 4 canvases/s a GPU, as measured: 0.5 days")
    name, speed = next(iter(GPUS.items()))
    rate = SHARE * speed / 2
    hours = 345_600 / rate / 3600
    assert f"| 2 x {name} | {rate:.1f} | {hours:,.0f} | {hours / 48:.1f} |" in dry_run.dry_run(path, gpus=2)
    with pytest.raises(ValueError, match="rate"):
        dry_run.dry_run(path, rate=0.0)
    with pytest.raises(ValueError, match="global_batch is 8; a multiple of 6"):
        dry_run.dry_run(path, gpus=3)
    result = CliRunner().invoke(app, ["train", "denoiser", "--config", str(path), "--dry-run", "--gpus", "4"])
    assert result.exit_code == 0 and "| together |" in result.output and not (path.parent / "run").exists()
