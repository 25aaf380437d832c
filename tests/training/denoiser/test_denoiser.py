"""Stage 3 on fake people: the objective, the caches against the pipeline, whole runs and the export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_people import HEIGHT, WIDTH, cache_values
from tiny_networks import denoiser_values

from imagpose.models.loading import load_networks
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pose import Pose, draw_skeleton
from imagpose.training.denoiser import DenoiserStage, fill_caches, preview, train_denoiser
from imagpose.training.denoiser.cache import build_cache, cache_blocks
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.networks import build_pipeline
from imagpose.training.denoiser.objective import visible_skeletons
from imagpose.training.export import export_pipeline
from imagpose.training.run import prepare_run
from imagpose.training.shards import stored_facts
from imagpose.views import ViewGrid


@pytest.fixture(scope="module")
def values(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """YAML values; the tests share one cache."""
    return denoiser_values(frozen, tmp_path_factory.mktemp("denoiser"))


def prepared(values: dict) -> DenoiserStage:
    """The stage with all weights away from zero, so that every path shows."""
    config = DenoiserConfig.model_validate(values)
    pipeline = build_pipeline(config)
    prepare_run(config, (config.data, config.validation))
    build_cache(config, pipeline)
    stage = DenoiserStage(config, pipeline)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in stage.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return stage


@pytest.fixture(scope="module")
def stage(values: dict) -> DenoiserStage:
    return prepared(values)


@torch.no_grad()
def test_loss_is_eq4_computed_plainly(stage: DenoiserStage) -> None:
    step = next(step for step in range(50) if stage.batch(step, range(2))["grid"] == ViewGrid(2, 2))
    batch = stage.batch(step, range(2))
    black = stage.pipeline.vae.encode(-torch.ones(1, 3, HEIGHT, WIDTH)).latent_dist.mean[0] * 0.5
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = np.cumprod(1 - betas)
    squares = []
    for index in range(2):
        kept = float(signal[batch["timesteps"][index]])
        canvas, truth, skeleton = torch.zeros(9, 16, 16), torch.zeros(4, 16, 16), torch.zeros(3, 128, 128)
        for slot in range(4):
            top, left = 8 * (slot // 2), 8 * (slot % 2)
            cut = slice(top, top + 8), slice(left, left + 8)
            latents, noise = batch["latents"][index, slot], batch["noise"][index, slot]
            seen = batch["mask"][index, slot] > 0
            canvas[:4, cut[0], cut[1]] = kept**0.5 * latents + (1 - kept) ** 0.5 * noise
            canvas[4:8, cut[0], cut[1]] = latents if seen else black
            canvas[8, cut[0], cut[1]] = 1.0 if seen else 0.0
            truth[:, cut[0], cut[1]] = noise
            if not seen or batch["keep_source_poses"][index]:
                drawn = batch["skeletons"][index, slot].float() / 255
                skeleton[:, 8 * top : 8 * top + 64, 8 * left : 8 * left + 64] = drawn
        features = stage.feature_tokens(batch["tokens"][index, None], batch["textures"][index, None]).features
        features[:, :17] *= batch["keep_image_tokens"][index]
        features[:, 17:] *= batch["keep_texture"][index]
        pose_features = stage.pose_encoder(skeleton[None]).pose_features
        timestep = int(batch["timesteps"][index])
        output = stage.unet(canvas[None], timestep, features, pose_features, ViewGrid(2, 2)).sample
        squares.append((output[0] - truth).square().mean())
    assert float(stage(batch)[0]) == pytest.approx(float(torch.stack(squares).mean()), rel=1e-4)


@torch.no_grad()
def test_min_snr_weights_enter_the_loss(values: dict, stage: DenoiserStage, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = stage.batch(0, range(2))
    batch = {
        name: value[:1] if torch.is_tensor(value) and name != "stand_ins" else value for name, value in batch.items()
    }
    batch["timesteps"] = torch.tensor([100])
    plain = float(stage(batch)[0])
    monkeypatch.setattr(stage, "config", DenoiserConfig.model_validate(values | {"min_snr_gamma": 5.0}))
    kept = float(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[100])
    assert float(stage(batch)[0]) == pytest.approx(plain * 5.0 * (1 - kept) / kept, rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(("asked", "expected"), [(None, "v_prediction"), ("epsilon", "epsilon")])
def test_the_base_says_what_is_predicted_unless_it_is_asked_for(
    values: dict, monkeypatch: pytest.MonkeyPatch, asked: str | None, expected: str
) -> None:
    def of_a_base(*arguments: object, **sizes: object) -> object:
        return replace(load_networks(*arguments, **sizes), prediction_type="v_prediction")

    monkeypatch.setattr("imagpose.training.denoiser.networks.load_networks", of_a_base)
    config = DenoiserConfig.model_validate(values | {"prediction_type": asked})
    assert build_pipeline(config).scheduler.config.prediction_type == expected


def test_a_base_of_another_kind_is_refused_before_its_weights_are_read(values: dict, tmp_path: Path) -> None:
    sizes = {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "cross_attention_dim": 1024}
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps(sizes))
    config = DenoiserConfig.model_validate(values | {"preset": "sd15-dinov2-b", "base": str(tmp_path), "unet": {}})
    with pytest.raises(ValueError, match=r"preset sd15-dinov2-b has SD1.5; base .* is SD2.1 \("):
        build_pipeline(config)


@pytest.mark.parametrize("scope", ["canvas", "view"])
def test_a_batchs_noise_has_the_offset_that_is_asked_for(values: dict, scope: str) -> None:
    plain, shifted = (
        prepared(values | {"noise_offset": offset, "noise_offset_scope": scope, "grids": {"2x2": 1.0}}).batch(
            0, range(2)
        )
        for offset in (0.0, 0.1)
    )
    offset = (shifted["noise"] - plain["noise"])[..., 0, 0]
    assert float(offset.abs().max()) > 0.05
    assert torch.allclose(offset[:, 0], offset[:, 1], atol=1e-6) == (scope == "canvas")


def test_the_loss_counts_by_the_batchs_weight(stage: DenoiserStage) -> None:
    batch = stage.batch(0, range(2))
    assert batch["weight"] == 1
    loss, scalars = stage(batch)
    halved, same = stage(batch | {"weight": 0.5})
    assert float(halved) == pytest.approx(float(loss) / 2) and same == scalars


def test_another_precision_makes_another_cache(values: dict, tmp_path: Path) -> None:
    """Latents and tokens are made anew; what no network makes is left."""

    def sources(precision: str) -> dict[str, str]:
        config = DenoiserConfig.model_validate(values | {"data": cached, "validation": None, "precision": precision})
        fill_caches(config)
        blocks = cache_blocks(config.data, 32)
        return {kind: stored_facts(blocks[0].path(kind))["source"] for kind in (*by_networks, "skeletons")}

    by_networks = {"latents", "textures", "tokens"}
    cached = cache_values(tmp_path, identities=4)
    first, exact, again = (sources(precision) for precision in ("bf16", "fp32", "bf16"))
    assert first == again and {kind for kind in first if first[kind] != exact[kind]} == by_networks


def test_dropped_source_poses_leave_target_poses(stage: DenoiserStage) -> None:
    batch = {
        "skeletons": torch.full((2, 2, 3, 1, 1), 255, dtype=torch.uint8),
        "mask": torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
        "keep_source_poses": torch.tensor([0.0, 1.0]),
    }
    assert visible_skeletons(**batch)[..., 0, 0, 0].tolist() == [[0.0, 1.0], [1.0, 1.0]]


def test_dropped_features_are_null(stage: DenoiserStage) -> None:
    batch = stage.batch(0, range(2))
    full = stage._features(batch | {"keep_image_tokens": torch.ones(2), "keep_texture": torch.ones(2)})
    features = stage._features(
        batch | {"keep_image_tokens": torch.tensor([0.0, 1.0]), "keep_texture": torch.tensor([1.0, 0.0])}
    )
    count = batch["tokens"].shape[1]
    assert not features[0, :count].any() and not features[1, count:].any()
    assert torch.equal(features[0, count:], full[0, count:]) and torch.equal(features[1, :count], full[1, :count])


def test_skeletons_are_those_of_the_cached_key_points(stage: DenoiserStage) -> None:
    pair = np.array([6]), np.array([5])
    pose = Pose(stage.data.get("keypoints", *pair)[0].numpy(), WIDTH, HEIGHT)
    drawn = stage.data.skeletons(*pair)[0].movedim(0, -1).numpy()
    assert np.array_equal(drawn, np.asarray(draw_skeleton(pose))) and drawn.any()


def test_a_run_learns_and_exports_a_pipeline(write_config, values: dict, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = {"output": str(run), "steps": 25, "learning_rate": 5e-3, "ema_decay": 0.5, "grids": {"1x2": 1.0}}
    outcome = train_denoiser(write_config(values | changes))
    assert np.mean(outcome.losses[-8:]) < 0.85 * np.mean(outcome.losses[:4])
    known = {"known_psnr", "known_psnr_three", "known_psnr_of_copy"}
    assert set(outcome.validation) == {"loss", "loss_masked", "loss_visible", "psnr", "psnr_of_copy"} | known
    sizes = export_pipeline(run, tmp_path / "mini", "fp16", max_file_size="20KB")
    files = list((tmp_path / "mini" / "unet").iterdir())
    assert sizes["unet"] == sum(file.stat().st_size for file in files)
    assert len([file for file in files if file.suffix == ".safetensors"]) > 1
    assert not any("_name_or_path" in file.read_text() for file in (tmp_path / "mini").rglob("*.json"))
    full = IMAGPosePipeline.from_pretrained(run / "weights")
    small = IMAGPosePipeline.from_pretrained(tmp_path / "mini", dtype=torch.float16)
    assert small.unet.dtype == torch.float16 and small.config.view_height == HEIGHT
    for name, weight in full.unet.state_dict().items():
        assert torch.allclose(small.unet.state_dict()[name].float(), weight, rtol=1e-3, atol=1e-6)
    facts = json.loads((tmp_path / "mini" / "training.json").read_text())
    assert (facts["canvases"], facts["step"], facts["phase"]) == (25 * 4, 25, "finished")
    going_on = {"output": str(tmp_path / "on"), "initial": str(tmp_path / "mini"), "steps": 1}
    assert train_denoiser(write_config(values | changes | going_on)).samples == 104


def test_resumed_run_repeats_the_uninterrupted_one(write_config, values: dict, tmp_path: Path) -> None:
    path = write_config(values | {"output": str(tmp_path / "resumed"), "steps": 3})
    expected = train_denoiser(path, [f"output={tmp_path / 'whole'}"])
    first = train_denoiser(path, stop_after=1e-9)
    second = train_denoiser(path, resume="latest")
    assert (first.step, second.step) == (1, 3)
    assert first.losses + second.losses == expected.losses


PHASES = [
    {"steps": 2, "low_resolution_share": 1.0, "pure_noise_share": 1.0, "attention_weight": 0.1, "person_weight": 3.0},
    {"steps": 2, "timestep_shift": 5.0, "attention_weight": 0.1},
    {},
]
TAUGHT = {"prediction_type": "v_prediction", "zero_terminal_snr": True, "all_masked_share": 0.1, "phases": PHASES}


def test_a_run_in_phases_is_resumed_exactly(write_config, values: dict, tmp_path: Path) -> None:
    path = write_config(values | TAUGHT | {"output": str(tmp_path / "resumed"), "steps": 6, "workers": 1})
    expected = train_denoiser(path, [f"output={tmp_path / 'whole'}"])
    sittings = [train_denoiser(path, stop_after=1e-9, resume="latest") for _ in range(2)]
    sittings.append(train_denoiser(path, resume="latest"))
    assert [sitting.step for sitting in sittings] == [1, 2, 6]
    assert [loss for sitting in sittings for loss in sitting.losses] == expected.losses


@pytest.fixture(scope="module")
def taught(values: dict) -> DenoiserStage:
    return prepared(values | TAUGHT)


def test_phases_change_what_a_step_sees(taught: DenoiserStage) -> None:
    early, later, last = (taught.batch(step, range(2)) for step in (0, 2, 4))
    views, slots = early["grid"].num_views, early["mask"].shape[1]
    assert early["latents"].shape[:2] == (2 * 4 // int(views) * 4, slots) and early["latents"].shape[-2:] == (4, 4)
    assert early["noise"].shape == early["latents"].shape and early["surface"].shape[2:] == (4, 4, 4)
    assert early["skeletons"].shape[-2:] == (32, 32) and (early["timesteps"] == 999).all()
    for batch in (later, last):
        assert batch["latents"].shape[-2:] == (8, 8) and batch["surface"].shape[2:] == (8, 8, 4)
    weights = [(batch["recipe"].attention_weight, batch["recipe"].person_weight) for batch in (early, later, last)]
    assert weights == [(0.1, 3.0), (0.1, 1.0), (0.0, 1.0)]


def test_half_latents_are_those_of_the_half_picture(taught: DenoiserStage) -> None:
    pair = np.array([3]), np.array([2])
    picture = taught.data.get("pictures", *pair)[0].float() / 127.5 - 1
    smaller = picture.unflatten(0, (32, 2)).unflatten(2, (32, 2)).mean(dim=(1, 3)).movedim(-1, 0)
    with torch.no_grad():
        expected = taught.pipeline.vae.encode(smaller[None]).latent_dist.mean[0] * 0.5
    assert torch.allclose(taught.data.get("latents_half", *pair)[0].float(), expected, atol=5e-3)


@torch.no_grad()
def test_the_loss_weighs_the_person_and_teaches_attention(taught: DenoiserStage) -> None:
    taught.train()
    step = next(step for step in range(2) if taught.batch(step, range(2))["mask"].any())
    batch = taught.batch(step, range(2))
    loss, scalars = taught(batch)
    plain, _ = taught(batch | {"recipe": replace(batch["recipe"], attention_weight=0.0)})
    assert float(loss) == pytest.approx(float(plain) + 0.1 * float(scalars["attention_loss"]), rel=1e-5)
    assert 0 < float(scalars["attention_on_sources"]) < 1
    prediction, target = taught._predict(batch)
    weights = 1 + 2 * batch["surface"][..., 3]
    weights = weights / weights.mean(dim=(2, 3), keepdim=True)
    expected = ((prediction - target).square().mean(dim=2) * weights).mean()
    assert float(plain) == pytest.approx(float(expected), rel=1e-4)


@torch.no_grad()
def test_one_prediction_is_measured_in_the_mask(taught: DenoiserStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the true latents as prediction it is the autoencoder's PSNR."""
    data, vae = taught.held_out, taught.pipeline.vae
    monkeypatch.setattr(taught, "_one_prediction", lambda draw: taught._assembled(data, draw)["latents"])
    measures = taught._known()
    errors, copies, last = [], [], []
    for person in range(4):
        shown = [data.view(person, view)[0] for view in range(4)]
        source, *truths = [np.asarray(picture, dtype=float) for picture in shown]
        for view, truth in enumerate(truths, start=1):
            latents = data.get("latents", np.array([person]), np.array([view])).float()
            decoded = vae.decode(latents / 0.5).sample[0].clamp(-1, 1).movedim(0, -1).double().numpy()
            mask = data.foreground(person, view)
            for picture, found in (((decoded + 1) * 127.5, errors), (source, copies)):
                found.append(10 * np.log10(255**2 / ((picture - truth)[mask] ** 2).mean()))
        last.append(errors[-1])
    assert measures["known_psnr"] == pytest.approx(np.mean(errors), abs=0.02)
    assert measures["known_psnr_three"] == pytest.approx(np.mean(last), abs=0.02)
    assert measures["known_psnr_of_copy"] == pytest.approx(np.mean(copies), abs=0.02)


@torch.no_grad()
def test_one_prediction_sees_its_sources_and_no_target(taught: DenoiserStage, monkeypatch: pytest.MonkeyPatch) -> None:
    taught.eval()
    draws = []
    monkeypatch.setattr(
        taught, "_one_prediction", lambda draw: draws.append(draw) or taught._black[False].expand(2, 4, -1, -1, -1)
    )
    taught._known()
    monkeypatch.undo()
    assert [draw.mask[0].tolist() for draw in draws] == [[1, 0, 0, 0]] * 2 + [[1, 1, 1, 0]] * 2
    known = taught._one_prediction(draws[0])
    assert torch.equal(known, taught._one_prediction(draws[0])) and known.shape == (2, 4, 4, 8, 8)
    assembled = taught._assembled
    for slot, changes in ((0, True), (2, False)):

        def other(data, draw, slot=slot):
            batch = assembled(data, draw)
            batch["latents"] = batch["latents"].clone()
            batch["latents"][:, slot] += 1
            return batch

        monkeypatch.setattr(taught, "_assembled", other)
        assert torch.allclose(taught._one_prediction(draws[0])[:, 1], known[:, 1], atol=1e-5) != changes


def test_psnr_is_that_of_views_1_to_3_and_of_the_source_in_their_place(
    stage: DenoiserStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, people = stage.held_out, 2
    shown = np.array([[np.asarray(data.view(person, view)[0], float) for view in range(4)] for person in range(people)])
    made = np.clip(shown[:, 1:] + 20, 0, 255).astype(np.uint8)
    monkeypatch.setattr(preview.Preview, "generate", lambda *_: made)
    measures = stage._preview().psnr(people)
    for name, pictures in (("psnr", made), ("psnr_of_copy", shown[:, :1].repeat(3, axis=1))):
        errors = ((pictures - shown[:, 1:]) ** 2).mean(axis=(2, 3, 4))
        assert measures[name] == pytest.approx(np.mean(10 * np.log10(255**2 / errors))), name


def test_sample_rows_show_source_skeleton_output_and_truth(stage: DenoiserStage) -> None:
    picture = stage._preview().rows(2)
    assert picture.shape == (2 * HEIGHT, 10 * WIDTH, 3)
    tiles = picture.reshape(2, HEIGHT, 10, WIDTH, 3).swapaxes(1, 2)
    for person in range(2):
        views = [stage.held_out.get("pictures", np.array([person]), np.array([v]))[0].numpy() for v in range(4)]
        assert np.array_equal(tiles[person, 0], views[0])
        for target in (1, 2, 3):
            assert np.array_equal(tiles[person, 3 * target], views[target])
            skeleton = stage.held_out.skeletons(np.array([person]), np.array([target]))[0]
            assert np.array_equal(tiles[person, 3 * target - 2], skeleton.movedim(0, -1).numpy())


@pytest.mark.parametrize("preset", ["B0", "B3", "M1"])
def test_ablations_train(values: dict, preset: str) -> None:
    stage = prepared(values | {"preset": preset})
    loss, _ = stage(stage.batch(0, range(2)))
    loss.backward()
    assert all(parameter.grad is not None for parameter in stage.parameters())


def test_what_is_missing_is_named(write_config, values: dict, tmp_path: Path) -> None:
    path = write_config(values)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train_denoiser(path, [f"autoencoder={tmp_path / 'nowhere'}"])
    nobody = {"dataset": str(tmp_path / "nobody"), "height": 64, "width": 64}
    with pytest.raises(
        FileNotFoundError, match="nobody"
    ):  # data are looked at before networks, which take minutes to load
        train_denoiser(
            write_config(values | {"validation": nobody, "autoencoder": str(tmp_path / "nowhere")}, "no.yaml")
        )
    with pytest.raises(ValueError, match="preset 'maxi'"):
        train_denoiser(path, ["preset=maxi"])
    with pytest.raises(ValueError, match="unet: .*number_of_wings"):
        train_denoiser(path, ["unet={number_of_wings: 2}"])
    with pytest.raises(FileNotFoundError, match="train the denoiser first"):
        export_pipeline(tmp_path / "nothing", tmp_path / "mini")


@torch.no_grad()
def test_the_curve_shows_t1_of_held_out_people_and_measures_it(
    stage: DenoiserStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple] = []

    def measure(*pictures: list[np.ndarray]) -> dict[str, float]:
        compared.append(pictures)
        return {"gradient_ratio": 0.5}

    monkeypatch.setattr(preview, "measure_pictures", measure)
    report = stage.measure_progress()
    data = stage.held_out
    people = range(len(data.view_counts))
    assert list(report.measures)[:2] == ["validation_loss", "known_psnr"]
    assert report.measures["validation_loss"] == pytest.approx(stage._held_out_losses()["loss"], rel=1e-4)
    assert report.measures["gradient_ratio"] == 0.5
    rows = report.picture[-len(people) * HEIGHT :].reshape(len(people), HEIGHT, 4, WIDTH, 3).swapaxes(1, 2)
    (outputs, truths, masks, parts, sources, reconstructions) = compared[0]
    for person in people:
        assert np.array_equal(rows[person, 0], np.asarray(data.view(person, 0)[0]))
        assert np.array_equal(rows[person, 1], np.asarray(draw_skeleton(data.view(person, 1)[1])))
        assert np.array_equal(rows[person, 3], np.asarray(data.view(person, 1)[0]))
        assert np.array_equal(rows[person, 2], outputs[person])
        assert np.array_equal(rows[person, 3], truths[person]) and np.array_equal(rows[person, 0], sources[person])
        assert np.array_equal(masks[person], data.foreground(person, 1))
        assert np.array_equal(parts[person] > 0, masks[person])
    one = stage.pipeline(
        sources=[data.view(2, 0)[0]],
        target_poses=[data.view(2, 1)[1]],
        scenario="T1",
        height=HEIGHT,
        width=WIDTH,
        num_inference_steps=10,
        generator=torch.Generator().manual_seed(2),
    ).images[0]
    assert np.abs(np.asarray(one).astype(int) - outputs[2]).max() <= 1
    assert reconstructions[0].shape == (HEIGHT, WIDTH, 3) and reconstructions[0].dtype == np.uint8
