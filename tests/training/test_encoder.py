"""Stage 2 on fake people."""

import numpy as np
import pytest
import torch
from fake_people import fake_views
from transformers import BitImageProcessorPil, Dinov2Model

from imagpose.training.cache import render_views
from imagpose.training.encoder import EncoderConfig, EncoderStage, train_encoder
from imagpose.training.metric_learning import augment, before_plain_colour

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 16}


@pytest.fixture
def values(run_values: dict) -> dict:
    return run_values | {"model": TINY, "batch_size": 6, "projection_size": 8}


@pytest.fixture
def stage(values: dict) -> EncoderStage:
    config = EncoderConfig.model_validate(values)
    render_views(config.data)
    render_views(config.validation)
    return EncoderStage(config)


def test_a_run_learns_and_its_folder_is_a_transformers_model(write_config, values: dict) -> None:
    path = write_config(values | {"steps": 40, "learning_rate": 2e-3, "ema_decay": 0.5, "plain_probability": 0.0})
    outcome = train_encoder(path)
    assert np.mean(outcome.losses[-5:]) < 0.7 * np.mean(outcome.losses[:5])
    folder = EncoderConfig.model_validate(values).output / "weights"
    tokens = Dinov2Model.from_pretrained(folder)(torch.zeros(1, 3, 64, 64)).last_hidden_state
    assert tokens.shape == (1, 1 + 16, 16)
    processor = BitImageProcessorPil.from_pretrained(folder)
    assert (processor.size["height"], processor.size["width"]) == (64, 64)


def test_pictures_are_brought_to_the_size_of_the_model(values: dict, tmp_path) -> None:
    config = EncoderConfig.model_validate(values | {"model": TINY | {"height": 48, "width": 32}})
    render_views(config.data)
    render_views(config.validation)
    stage = EncoderStage(config).eval()
    tokens = []
    stage.encoder.register_forward_hook(lambda _module, _inputs, output: tokens.append(output.last_hidden_state))
    stage.features(torch.zeros(1, 3, 64, 64))
    assert tokens[0].shape == (1, 1 + 3 * 2, 16)
    stage.export(tmp_path)
    processor = BitImageProcessorPil.from_pretrained(tmp_path)
    assert (processor.size["height"], processor.size["width"]) == (48, 32)


def test_a_batch_pairs_two_different_views_of_each_identity(values: dict, stage: EncoderStage) -> None:
    stage.config = EncoderConfig.model_validate(
        values | {"crop_fraction": 0, "mirror_probability": 0, "colour_jitter": 0, "plain_probability": 0}
    )
    pixels = stage.batch(3, range(6))["pixels"]
    colours = [{tuple(colour) for colour in view.flatten(1).T.round(decimals=3).tolist()} for view in pixels]
    for index in range(6):
        assert colours[index] == colours[index + 6]
        assert not torch.allclose(pixels[index], pixels[index + 6])
    assert len({frozenset(colour) for colour in colours[:6]}) == 6


def test_rank1_counts_held_out_identities_that_are_found(stage: EncoderStage, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stage, "features", lambda pixels: pixels.mean(dim=(2, 3)))
        assert stage.validate()["rank1"] == 1.0
        patch.setattr(stage, "features", lambda pixels: torch.ones(len(pixels), 3))
        assert stage.validate() == {"rank1": 0.25, "rank1_plain": 0.25}


def test_plain_rank1_does_not_see_the_ground(stage: EncoderStage, monkeypatch) -> None:
    monkeypatch.setattr(stage, "features", lambda pixels: pixels[:, :, 0, 0] + 1e-3)
    assert stage.validate() == {"rank1": 1.0, "rank1_plain": 0.25}


def test_ground_is_replaced_and_the_person_kept(values: dict, stage: EncoderStage) -> None:
    cache, pairs = stage.cache, (np.arange(3), np.arange(3))
    pixels, colours = cache.pixels(*pairs), torch.tensor([[0.1, 0.2, 0.3], [-1.0, 0.0, 1.0], [0.5, 0.5, 0.5]])
    plain = before_plain_colour(pixels, cache.foreground(*pairs), colours)
    for index, views in enumerate(views for _, views in fake_views(range(3), 3, 64, 64)):
        person = views[index].foreground
        for channel in range(3):
            expected = np.where(person, pixels[index, channel], colours[index, channel])
            assert np.array_equal(plain[index, channel].numpy(), expected)


def test_augmentation_without_strength_changes_nothing(values: dict) -> None:
    config = EncoderConfig.model_validate(values | {"crop_fraction": 0, "mirror_probability": 0, "colour_jitter": 0})
    pixels = torch.rand(2, 3, 8, 6) * 2 - 1
    assert torch.allclose(augment(pixels, config, np.random.default_rng(0)), pixels, atol=1e-5)


def test_mirror_only(values: dict) -> None:
    config = EncoderConfig.model_validate(values | {"crop_fraction": 0, "mirror_probability": 1, "colour_jitter": 0})
    pixels = torch.rand(2, 3, 8, 6) * 2 - 1
    assert torch.allclose(augment(pixels, config, np.random.default_rng(0)), pixels.flip(-1), atol=1e-5)


def test_batch_larger_than_the_people_is_refused(values: dict, stage: EncoderStage) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        EncoderStage(EncoderConfig.model_validate(values | {"batch_size": 9}))


def test_a_run_starts_from_exported_weights(values: dict, stage: EncoderStage, tmp_path) -> None:
    stage.export(tmp_path / "weights")
    other = EncoderStage(EncoderConfig.model_validate(values | {"initial": tmp_path / "weights", "seed": 5}))
    for name, tensor in stage.encoder.state_dict().items():
        assert torch.equal(tensor, other.encoder.state_dict()[name]), name
    wider = TINY | {"hidden_size": 32}
    with pytest.raises(ValueError, match="weights does not fit model"):
        EncoderStage(EncoderConfig.model_validate(values | {"initial": tmp_path / "weights", "model": wider}))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        EncoderStage(EncoderConfig.model_validate(values | {"initial": tmp_path / "no" / "nowhere"}))
