"""What a denoiser's run says of held-out people: the fixed list, against a plain computation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMScheduler
from tiny_networks import denoiser_values

from imagpose.metrics.detail import detail_correlation
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser import DenoiserConfig, DenoiserStage, fill_caches, train_denoiser
from imagpose.training.denoiser.draw import draw_items
from imagpose.training.denoiser.preview import Preview
from imagpose.training.stage import Drawn, keyed_generator

ITEMS, SEED = 32, 1_000_003
VISIBLE_WEIGHT = 0.2


@pytest.fixture(scope="module")
def values(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    changes = {
        "visible_weight": VISIBLE_WEIGHT,
        "sampling": {"steps": 1},
        "grids": {"2x2": 0.5, "1x2": 0.3, "2x3": 0.2},
    }
    return denoiser_values(frozen, tmp_path_factory.mktemp("validation")) | changes


def prepared(values: dict) -> DenoiserStage:
    """The stage with all weights away from zero, so that every path shows."""
    config = DenoiserConfig.model_validate(values)
    stage = DenoiserStage(config, fill_caches(config)[0]).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in stage.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return stage


@torch.no_grad()
def slots_of(stage: DenoiserStage) -> list[tuple[np.ndarray, np.ndarray]]:
    """Errors and visibility of the slots of each item, one canvas at a time, with noise drawn here."""
    found = []
    for draw in draw_items(stage._fixed_draws, ITEMS):
        for row, (seed, item, _) in enumerate(draw.samples):
            batch = stage._assembled(stage.held_out, draw)
            single = {
                name: value[row : row + 1] if torch.is_tensor(value) and name != "stand_ins" else value
                for name, value in batch.items()
            }
            generator = keyed_generator(SEED, item, 0, Drawn.NOISE)
            single["noise"] = torch.randn(single["latents"].shape[1:], generator=generator)[None]
            assert seed == SEED
            prediction, target = stage._predict(single)
            assert torch.equal(target, single["noise"])
            errors = (prediction - single["noise"])[0].numpy() ** 2
            found.append((errors.mean(axis=(1, 2, 3)), draw.mask[row].numpy() > 0))
    return found


def test_validation_is_eq4_over_the_fixed_list_computed_plainly(values: dict) -> None:
    """Visible slots count 0.2; of V slots 1 to V are masked, each number alike, so (V - 1) / 2V are visible."""
    stage = prepared(values)
    slots = slots_of(stage)
    assert len(slots) == ITEMS and len({len(errors) for errors, _ in slots}) == 3
    losses = []
    for errors, visible in slots:
        share = (len(errors) - 1) / (2 * len(errors))
        weights = np.where(visible, VISIBLE_WEIGHT, 1.0) / (1 + share * (VISIBLE_WEIGHT - 1))
        losses.append((weights * errors).mean())
    with torch.no_grad():
        found = stage.validate()
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    for name, kept in (("loss_visible", True), ("loss_masked", False)):
        chosen = np.concatenate([errors[visible == kept] for errors, visible in slots])
        assert found[name] == pytest.approx(chosen.mean(), rel=1e-4), name
    assert found["loss_visible"] != pytest.approx(found["loss_masked"], rel=1e-2)


@torch.no_grad()
def test_neither_phases_nor_the_batch_size_change_what_is_validated(values: dict) -> None:
    phases = {"prediction_type": "v_prediction", "zero_terminal_snr": True}
    plain = prepared(values | phases)._held_out_losses()
    late = {"timestep_shift": 5.0, "noise_offset": 0.3, "pure_noise_share": 0.5, "low_resolution_share": 1.0}
    other = prepared(values | phases | late | {"batch_size": 7})
    assert other._held_out_losses() == pytest.approx(plain, rel=1e-5)


def test_a_run_says_first_what_its_autoencoder_keeps(values: dict, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    path = Path(values["output"]).parent / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    train_denoiser(path, ["steps=1"], stop_after=1e-9)
    said = re.search(
        r"autoencoder alone: PSNR ([-\d.]+) dB, detail correlation ([-\d.]+); .*\nwarning: .*faces",
        capsys.readouterr().err,
    )
    assert said is not None
    stage = prepared(values)
    psnrs, details = [], []
    for person in range(len(stage.held_out.view_counts)):
        truth, mask = np.asarray(stage.held_out.view(person, 0)[0]), stage.held_out.foreground(person, 0)
        pixels = torch.from_numpy(truth.copy()).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            made = stage.frozen.vae.decode(stage.frozen.vae.encode(pixels).latent_dist.mode()).sample[0]
        made = ((made.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        error = (made.astype(float) - truth)[mask]
        psnrs.append(10 * np.log10(255**2 / (error**2).mean()))
        details.append(detail_correlation(made, truth, mask))
    assert float(said[1]) == pytest.approx(np.mean(psnrs), abs=0.06)
    assert float(said[2]) == pytest.approx(np.nanmean(details), abs=0.006)
    monkeypatch.setattr(Preview, "_reconstructed", lambda _, pictures: list(pictures))
    assert len(stage.ceiling()) == 1 and "detail correlation 1.00" in stage.ceiling()[0]


def test_previews_know_the_poses_of_their_sources(values: dict) -> None:
    stage = prepared(values)
    preview, calls = stage._preview(), []

    def record(**asked):
        calls.append(asked)
        return ([[np.zeros((8, 8, 3), np.uint8)] for _ in asked["sources"]],)

    preview.pipeline = record
    record.set_progress_bar_config = lambda **_: None
    preview.generate([0, 1], "T1", targets=1)
    given = [pose.keypoints for call in calls for own in call["source_poses"] for pose in own]
    np.testing.assert_array_equal(given, [stage.held_out.view(person, 0)[1].keypoints for person in (0, 1)])


def test_previews_are_sampled_with_the_named_scheduler_and_the_export_keeps_its_own(
    values: dict, tmp_path: Path
) -> None:
    made = {}
    for scheduler in (None, "ddpm"):
        stage = prepared(values | {"sampling": {"steps": 2, "scheduler": scheduler}})
        made[scheduler] = stage._preview().generate([0, 1], "T1")
        stage.export(tmp_path / str(scheduler))
        assert type(IMAGPosePipeline.from_pretrained(tmp_path / str(scheduler)).scheduler) is DDIMScheduler
    assert made[None].shape == made["ddpm"].shape and np.abs(made[None].astype(int) - made["ddpm"]).max() > 8
