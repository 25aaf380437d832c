"""Training and the pipeline show the UNet the same: one person's views, from a prepared data set and from a user."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from tiny_networks import denoiser_values

from imagpose import IMAGPosePipeline
from imagpose.data.prepare import Person, write_dataset
from imagpose.data.records import ViewRecord, make_record
from imagpose.models.scheduler import build_scheduler
from imagpose.pictures import fit_view
from imagpose.pipeline.warping import WarpSource, warp
from imagpose.pixels import bytes_to_signed
from imagpose.pose import Pose, draw_skeleton
from imagpose.training.denoiser import DenoiserConfig, DenoiserStage, fill_caches
from imagpose.training.denoiser.draw import CanvasDraw
from imagpose.training.denoiser.networks import build_pipeline
from imagpose.views import ViewGrid, tile, untile

HEIGHT, WIDTH = 80, 56  # padded to 96 x 64: the tiny UNet has three levels
PICTURE = 60, 100  # width and height of what is stored: fitted to 48 x 80, then filled up to 56


def record(view: int) -> ViewRecord:
    """Soft noise, and a pose of which every part is inside the frame."""
    rng = np.random.default_rng(view)
    colours = Image.fromarray(rng.integers(0, 256, (5, 3, 3), dtype=np.uint8))
    points = np.concatenate([rng.uniform((5, 5), (PICTURE[0] - 5, PICTURE[1] - 5), (18, 2)), np.ones((18, 1))], 1)
    return make_record(
        colours.resize(PICTURE, Image.Resampling.BICUBIC), Pose(points.astype(np.float32), *PICTURE),
        identity="0", view=str(view), split="train", source_file=f"{view}.png",
    )  # fmt: skip


def make(person: Person) -> Any:
    return [record(view) for view in person.views], []


@pytest.fixture(scope="module")
def values(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("parity")
    write_dataset(folder / "data", [Person("0", "train", (0, 1, 2, 3))], make, {}, workers=1)
    data = {"dataset": str(folder / "data"), "height": HEIGHT, "width": WIDTH}
    return denoiser_values(frozen, folder) | {"data": data, "validation": None}


def prepared(values: dict) -> DenoiserStage:
    config = DenoiserConfig.model_validate(values)
    stage = DenoiserStage(config, fill_caches(config)[0]).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in stage.parameters():  # zero-initialised layers would hide what stands before them
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return stage


@pytest.fixture(scope="module")
def stage(values: dict) -> DenoiserStage:
    return prepared(values)


class Recorder:
    """Stands in for the UNet's forward and keeps its first call's inputs."""

    def __init__(self) -> None:
        self.seen: dict[str, torch.Tensor] = {}

    def __call__(self, sample, timestep, features, pose_features=None, view_grid=None, return_dict=True):
        if not self.seen:
            self.seen = {"sample": sample, "F_C": features, "F_P": pose_features, "t": torch.as_tensor(timestep)}
        return (torch.zeros_like(sample[:, :4]),)


@torch.no_grad()
def trained(
    stage: DenoiserStage, monkeypatch, visible: int, source_poses: bool, order: tuple[int, ...] = (0, 1, 2, 3)
) -> dict[str, torch.Tensor]:
    """What training shows the UNet of views 0 to 3 in an order, the first ones visible."""
    recorder = Recorder()
    monkeypatch.setattr(stage.unet, "forward", recorder)
    one = torch.ones(1)
    draw = CanvasDraw(
        grid=ViewGrid(2, 2), half=False, samples=[(0, 0, 0)], identities=np.array([0]), views=np.array([order]),
        mask=(torch.arange(4) < visible).float()[None], feature_views=np.array([order[0]]), keep_image_tokens=one,
        keep_texture=one, keep_source_poses=one * source_poses, timesteps=torch.tensor([999]),
    )  # fmt: skip
    stage(stage._assembled(stage.data, draw))
    return recorder.seen


def asked(
    stage: DenoiserStage,
    monkeypatch,
    visible: int,
    source_poses: bool,
    order: tuple[int, ...] = (0, 1, 2, 3),
    latents: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """What a user's call shows it; the sources' poses are in a frame of another shape than their pictures."""
    recorder, pipeline = Recorder(), stage.pipeline
    monkeypatch.setattr(pipeline.unet, "forward", recorder)
    records = [record(view) for view in order]
    poses = [own.pose.resize(2 * PICTURE[0], PICTURE[1]) for own in records[:visible]]
    pipeline.set_progress_bar_config(disable=True)
    pipeline(
        [own.decode() for own in records[:visible]], [own.pose for own in records[visible:]],
        poses if source_poses else None, num_inference_steps=1, guidance_scale=1.0, latents=latents,
        scenario="star" if visible == 1 else None,
    )  # fmt: skip
    return recorder.seen


@pytest.mark.parametrize(("visible", "source_poses"), [(1, True), (2, True), (3, True), (2, False)])
def test_training_and_the_pipeline_show_the_unet_the_same(stage, monkeypatch, visible, source_poses):
    in_training, in_use = (show(stage, monkeypatch, visible, source_poses) for show in (trained, asked))
    assert in_training["sample"].shape == (1, 9, 24, 16)
    assert int(in_training["t"]) == int(in_use["t"]) == 999
    for name in ("F_C", "F_P", "sample"):  # noise apart
        one, other = (seen[name][:, 4:] if name == "sample" else seen[name] for seen in (in_training, in_use))
        torch.testing.assert_close(one, other, rtol=0, atol=5e-6, msg=lambda text, name=name: f"{name}: {text}")
        assert one.std() > 1e-3, name


@pytest.mark.parametrize(
    ("visible", "source_poses", "order"),
    [(1, True, (0, 1, 2, 3)), (2, True, (0, 1, 2, 3)), (3, True, (3, 0, 2, 1)), (2, False, (0, 1, 2, 3))],
)
def test_warped_views_are_the_same_in_training_and_in_use(values: dict, monkeypatch, visible, source_poses, order):
    """Masked slots hold the sources moved into each target's pose, encoded here one by one; black ones without poses."""
    stage = prepared(values | {"masked_views": "warped"})
    in_training = trained(stage, monkeypatch, visible, source_poses, order)
    with nullcontext() if source_poses else pytest.warns(UserWarning, match="no pose of a source is known"):
        in_use = asked(stage, monkeypatch, visible, source_poses, order)
    torch.testing.assert_close(in_training["sample"][:, 4:], in_use["sample"][:, 4:], rtol=0, atol=5e-6)
    views = [(fit_view(record(view).decode(), WIDTH, HEIGHT), record(view).pose.fit(WIDTH, HEIGHT)) for view in order]
    sources = [WarpSource.of(np.asarray(picture), own) for picture, own in views[:visible]]
    slots = untile(in_use["sample"][:, 4:], ViewGrid(2, 2))[0]
    for view in range(visible, 4):
        moved = warp([source for source in sources if source is not None], views[view][1])
        shown = moved if source_poses else np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        expected = stage.frozen.latents(bytes_to_signed(shown[None]))[0]
        torch.testing.assert_close(slots[view, :4], expected, rtol=0, atol=5e-6)
        assert not slots[view, 4].any()  # still masked


def test_warped_views_are_a_property_of_the_model(values: dict, tmp_path: Path) -> None:
    build_pipeline(DenoiserConfig.model_validate(values | {"masked_views": "warped"})).save_pretrained(tmp_path)
    going_on = values | {"initial": str(tmp_path), "autoencoder": None, "image_encoder": None}
    assert build_pipeline(DenoiserConfig.model_validate(going_on)).config.masked_views == "warped"
    black = DenoiserConfig.model_validate(going_on | {"masked_views": "black"})
    assert build_pipeline(black).config.masked_views == "black"
    augmented = going_on | {"data": values["data"] | {"augment": {"mirror": 0.5}}}
    with pytest.raises(ValueError, match="masked_views warped moves pictures as they are, augment changes them"):
        build_pipeline(DenoiserConfig.model_validate(augmented))


STARTING = {"start_from": "image_condition", "prediction_type": "v_prediction", "betas": (0.0005, 0.006)}


@pytest.mark.parametrize("masked_views", ["black", "warped"])
def test_training_at_the_last_timestep_sees_what_sampling_starts_from(values: dict, monkeypatch, masked_views) -> None:
    """Of the same noise, A x + S e' in training is A y + S e in use: with the views that are to come, and without them."""
    stage, drawn = prepared(values | STARTING | {"masked_views": masked_views}), []
    encoded = stage._encoded
    monkeypatch.setattr(stage, "_encoded", lambda batch: drawn.append(batch["noise"].clone()) or encoded(batch))
    in_training = trained(stage, monkeypatch, 2, True)["sample"]
    in_use = asked(stage, monkeypatch, 2, True, latents=tile(drawn[0], ViewGrid(2, 2)))["sample"]
    torch.testing.assert_close(in_training, in_use, rtol=0, atol=2e-5)
    assert (in_use[:, :4] - tile(drawn[0], ViewGrid(2, 2))).abs().mean() > 1e-3


def test_where_sampling_starts_is_a_property_of_the_model(values: dict, tmp_path: Path) -> None:
    build_pipeline(DenoiserConfig.model_validate(values | STARTING)).save_pretrained(tmp_path)
    going_on = values | {"initial": str(tmp_path), "autoencoder": None, "image_encoder": None}
    again = build_pipeline(DenoiserConfig.model_validate(going_on | {"pure_noise_share": 0.5}))
    assert again.config.start_from == "image_condition"
    assert (again.scheduler.config.beta_start, again.scheduler.config.beta_end) == STARTING["betas"]
    other = {"start_from": "noise", "betas": (0.001, 0.02)}
    changed = build_pipeline(DenoiserConfig.model_validate(going_on | other))
    assert changed.config.start_from == "noise"
    expected = build_scheduler("v_prediction", betas=other["betas"]).alphas_cumprod
    torch.testing.assert_close(changed.scheduler.alphas_cumprod, expected)
    with pytest.raises(ValueError, match="pure_noise_share needs zero_terminal_snr, or start_from image_condition"):
        build_pipeline(DenoiserConfig.model_validate(going_on | other | {"pure_noise_share": 0.5}))
    with pytest.raises(ValueError, match="needs a schedule without zero_terminal_snr"):
        build_pipeline(DenoiserConfig.model_validate(going_on | {"zero_terminal_snr": True}))


def test_what_is_cached_is_what_a_user_shows(values: dict, tmp_path: Path, monkeypatch):
    """In half precision."""
    cached = prepared(values | {"data": values["data"] | {"cache": str(tmp_path)}})
    in_training, in_use = (show(cached, monkeypatch, 2, True) for show in (trained, asked))
    for name in ("F_C", "F_P", "sample"):
        one, other = (seen[name][:, 4:] if name == "sample" else seen[name] for seen in (in_training, in_use))
        torch.testing.assert_close(one, other, rtol=5e-3, atol=5e-3, msg=lambda text, name=name: f"{name}: {text}")


RECORDED = {"vae_scope": "joint", "default_guidance_scale": 3.0, "skeleton": "body_hands", "default_steps": 7}


@pytest.fixture(scope="module")
def going_on(values: dict, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Values of a run from a model whose folder records what no default has."""
    folder = tmp_path_factory.mktemp("recorded")
    pipeline = build_pipeline(DenoiserConfig.model_validate(values))
    pipeline.register_to_config(**RECORDED)
    scheduler = build_scheduler("v_prediction", "linear", zero_terminal_snr=True)
    pipeline.scheduler = DDIMScheduler.from_config(scheduler.config, set_alpha_to_one=True, beta_end=0.011)
    pipeline.save_pretrained(folder)
    return values | {"initial": str(folder), "autoencoder": None, "image_encoder": None}


def test_what_a_models_folder_records_is_kept(going_on: dict, tmp_path: Path) -> None:
    stage = prepared(going_on | {"pure_noise_share": 0.5, "sampling": {}})
    stage.export(tmp_path / "exported")
    again = IMAGPosePipeline.from_pretrained(tmp_path / "exported")
    assert {name: again.config[name] for name in RECORDED} == RECORDED
    for found in (stage.scheduler.config, again.scheduler.config):
        assert (found.beta_schedule, found.beta_end, found.set_alpha_to_one) == ("linear", 0.011, True)
        assert (found.prediction_type, found.rescale_betas_zero_snr) == ("v_prediction", True)
    asked = DenoiserConfig.model_validate(going_on | {"beta_schedule": "scaled_linear", "zero_terminal_snr": False})
    changed = build_pipeline(asked).scheduler.config
    assert (changed.beta_schedule, changed.rescale_betas_zero_snr, changed.beta_end) == ("scaled_linear", False, 0.011)
    with pytest.raises(ValueError, match="needs prediction_type v_prediction"):
        build_pipeline(DenoiserConfig.model_validate(going_on | {"prediction_type": "epsilon"}))


def test_texture_tokens_are_made_of_a_picture_of_the_size_that_is_asked_for(values: dict, going_on: dict) -> None:
    for own in (values, going_on):  # values say 128
        config = DenoiserConfig.model_validate(own | {"texture_long_side": 256})
        assert build_pipeline(config).feature_tokens.config.texture_long_side == 256


def test_steps_and_guidance_that_a_configuration_gives_are_what_the_folder_says(going_on: dict) -> None:
    for given in ({"steps": 1}, {"guidance_scale": 1.0}, {"steps": 2, "guidance_scale": 0.0}):
        recorded = build_pipeline(DenoiserConfig.model_validate(going_on | {"sampling": given})).config
        assert recorded["default_steps"] == given.get("steps", 7)
        assert recorded["default_guidance_scale"] == given.get("guidance_scale", 3.0)


@pytest.mark.parametrize("visible", [1, 3])
def test_whole_canvases_are_encoded_alike(going_on: dict, monkeypatch, visible: int):
    stage = prepared(going_on)
    in_training, in_use = (show(stage, monkeypatch, visible, True) for show in (trained, asked))
    torch.testing.assert_close(in_training["sample"][:, 4:], in_use["sample"][:, 4:], rtol=0, atol=5e-6)
    stage.frozen = replace(stage.frozen, vae_scope="view")
    alone = trained(stage, monkeypatch, visible, True)
    assert (alone["sample"][:, 4:8] - in_use["sample"][:, 4:8]).abs().max() > 1e-3


def test_whole_canvases_are_not_cached(going_on: dict, tmp_path: Path) -> None:
    cached = going_on | {"data": going_on["data"] | {"cache": str(tmp_path)}}
    with pytest.raises(ValueError, match=r"VAE sees whole canvases .*without a cache"):
        build_pipeline(DenoiserConfig.model_validate(cached))


def test_the_pose_encoder_is_shown_drawings_in_0_to_1(stage, monkeypatch):
    """Drawn and padded here, by numpy: black is 0, full colour 1."""
    expected = []
    for view in range(4):
        drawn = np.asarray(draw_skeleton(record(view).pose.fit(WIDTH, HEIGHT)), np.float32) / 255
        expected.append(np.pad(drawn, ((8, 8), (4, 4), (0, 0)), mode="edge"))
    rows = [np.concatenate(expected[start : start + 2], axis=1) for start in (0, 2)]
    joint = np.concatenate(rows).transpose(2, 0, 1)
    assert joint.min() == 0 and joint.max() == 1
    seen = []
    original = stage.pose_encoder.forward
    monkeypatch.setattr(
        stage.pose_encoder,
        "forward",
        lambda skeleton, **options: seen.append(skeleton) or original(skeleton, **options),
    )
    for show in (trained, asked):
        show(stage, monkeypatch, 2, True)
    for skeleton in seen:
        np.testing.assert_allclose(skeleton[0].numpy(), joint, atol=1e-6)
    assert len(seen) == 2
