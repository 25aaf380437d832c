"""Stage 4 on fake people: pairs of generated latents and true pictures, what is trained, what is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_people import values_of_run
from planted import check_planted, plant_nan
from tiny_networks import denoiser_values

from imagpose.pipeline import IMAGPosePipeline
from imagpose.training import decoder
from imagpose.training.cache import ViewCache
from imagpose.training.decoder import DecoderConfig, DecoderStage, generate, train_decoder
from imagpose.training.denoiser import train_denoiser


@pytest.fixture(scope="module")
def values(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """YAML values of a decoder's run after a denoiser's run of one step."""
    folder = tmp_path_factory.mktemp("decoder")
    sizes = {"height": 48, "width": 40}  # padded to 64x64
    run = values_of_run(folder)
    run |= {part: run[part] | sizes for part in ("data", "validation")}
    path = folder / "denoiser.json"
    denoiser = (
        denoiser_values(frozen, folder)
        | run
        | {"output": str(folder / "denoiser"), "steps": 1, "sampling": {"steps": 1}}
    )
    path.write_text(json.dumps(denoiser))
    train_denoiser(path)
    return run | {
        "output": str(folder / "run"), "pipeline": str(folder / "denoiser" / "weights"), "people": 6,
        "sampling": {"steps": 1, "guidance_scale": 1.0},
    }  # fmt: skip


@pytest.fixture
def stage(values: dict) -> DecoderStage:
    config = DecoderConfig.model_validate(values)
    pipeline = IMAGPosePipeline.from_pretrained(config.pipeline)
    made = generate(pipeline, ViewCache(config.data, ("latents",)), config, range(6), show=False)
    return DecoderStage(config, pipeline, made)


def test_generated_latents_belong_to_the_views_that_were_asked_for(stage: DecoderStage) -> None:
    made = stage.generated
    assert made["identities"].tolist() == np.repeat(np.arange(6), 3).tolist()
    for identity in range(6):
        assert len(set(made["views"][made["identities"] == identity].tolist())) == 3
    config = stage.config.model_copy(update={"generated_share": 1.0})
    stage.config = config
    batch = stage.batch(4, range(5))
    for latents, pixels in zip(batch["latents"], batch["pixels"], strict=True):
        row = next(row for row, own in enumerate(made["latents"]) if torch.equal(own.float(), latents))
        pair = made["identities"][row : row + 1].numpy(), made["views"][row : row + 1].numpy()
        assert torch.equal(stage.cache.pixels(*pair)[0], pixels)


def test_encoded_latents_get_noise_up_to_the_configured_strength(stage: DecoderStage) -> None:
    stage.config = stage.config.model_copy(update={"generated_share": 0.0, "latent_noise": 0.5})
    batch = stage.batch(0, range(40))
    known = {stage.cache.pixels(*pair)[0].numpy().tobytes(): pair for pair in _all_pairs(stage)}
    spreads = []
    for latents, pixels in zip(batch["latents"], batch["pixels"], strict=True):
        clean = stage.cache.get("latents", *known[pixels.numpy().tobytes()])[0].float()
        spreads.append(float((latents - clean).std()))
    assert max(spreads) < 0.65 and min(spreads) < 0.15 and np.mean(spreads) == pytest.approx(0.25, abs=0.1)


def _all_pairs(stage: DecoderStage) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (np.array([i]), np.array([v])) for i in range(stage.cache.num_identities) for v in range(stage.cache.num_views)
    ]


@torch.no_grad()
def test_padding_is_cut_where_it_was_added(stage: DecoderStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that gives back the padded view is perfect: nothing of the view is cut, no padding is compared."""
    identities, views = np.arange(6), np.array([0, 3, 1, 5, 2, 4])
    pixels = stage.cache.pixels(identities, views)
    padded = torch.nn.functional.pad(pixels, (12, 12, 8, 8), mode="replicate")
    monkeypatch.setattr(decoder, "decode_latents", lambda _, latents: padded)
    _, scalars = stage({"latents": torch.zeros(6, 4, 8, 8), "pixels": pixels})
    assert float(scalars["l1"]) == 0 and float(scalars["ssim"]) == pytest.approx(1)
    assert torch.equal(stage._decode(torch.zeros(6, 4, 8, 8)), stage.cache.get("pictures", identities, views))


def test_samples_do_not_depend_on_how_they_are_shared(stage: DecoderStage) -> None:
    whole, halves = stage.batch(3, range(4)), [stage.batch(3, range(2)), stage.batch(3, range(2, 4))]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([half[name] for half in halves]))


def test_a_run_trains_the_decoder_alone_and_writes_a_pipeline(values: dict, write_config) -> None:
    before = IMAGPosePipeline.from_pretrained(values["pipeline"])
    path = write_config(values | {"steps": 12, "batch_size": 4, "learning_rate": 3e-3, "ema_decay": 0.5})
    outcome = train_decoder(path)
    assert np.mean(outcome.losses[-3:]) < 0.9 * np.mean(outcome.losses[:3])
    assert set(outcome.validation) == {"psnr_generated", "ssim_generated", "psnr_encoded", "ssim_encoded"}
    after = IMAGPosePipeline.from_pretrained(Path(values["output"]) / "weights")
    for name, weight in before.vae.state_dict().items():
        trained = name.startswith(("decoder.", "post_quant_conv."))
        assert torch.equal(weight, after.vae.state_dict()[name]) != trained or not weight.any(), name
    for name, weight in before.unet.state_dict().items():
        assert torch.equal(weight, after.unet.state_dict()[name]), name


def test_latents_are_generated_under_autocast_too(stage: DecoderStage) -> None:
    """Half precision cannot be joined under autocast, where a run in bf16 generates."""
    with torch.autocast("cpu", torch.bfloat16):
        made = generate(stage._pipeline, stage.cache, stage.config, range(6), show=False)
    assert made["latents"].dtype == torch.float16
    difference = (made["latents"].float() - stage.generated["latents"].float()).abs().mean()
    assert float(difference) < 0.05 * float(stage.generated["latents"].float().std())


def test_latents_are_generated_as_the_sampling_settings_say(stage: DecoderStage) -> None:
    """By another scheduler, which the exported pipeline does not get; by another seed."""
    own = type(stage._pipeline.scheduler)
    for changes in ({"scheduler": "ddpm"}, {"seed": 7}):
        sampling = replace(stage.config.sampling, steps=2, **changes)
        plain = stage.config.model_copy(update={"sampling": replace(stage.config.sampling, steps=2)})
        other = stage.config.model_copy(update={"sampling": sampling})
        first, second = (
            generate(stage._pipeline, stage.cache, config, range(2), show=False)["latents"] for config in (plain, other)
        )
        assert not torch.equal(first, second), changes
        assert type(stage._pipeline.scheduler) is own


def test_the_person_behind_a_nan_is_named(stage: DecoderStage, tmp_path: Path) -> None:
    config = stage.config.model_copy(update={"steps": 4})
    seed = int(stage.items(1, range(2))[0].split()[1])
    plant_nan(stage.cache, seed)
    check_planted(stage, config, seed, tmp_path)


def test_a_missing_pipeline_is_named(values: dict, write_config, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no trained pipeline"):
        train_decoder(write_config(values | {"pipeline": str(tmp_path)}))
