"""The means of a batch: what identical pictures have, and that the batch's size and order change nothing."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from imagpose.metrics.colour import part_colour_errors
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


def test_bad_input_is_named(batch):
    outputs, truths, masks, parts = batch
    with pytest.raises(ValueError, match="as many of each expected.*'masks': 2"):
        measure_pictures(outputs, truths, masks[:2], parts)
    with pytest.raises(ValueError, match="at least one"):
        measure_pictures([], [], [])
    with pytest.raises(ValueError, match=r"picture 0: output .*float64.*uint8 \(H, W, 3\)"):
        measure_pictures([own / 255 for own in outputs], truths, masks)
    with pytest.raises(ValueError, match="picture 1: the mask must be bool"):
        measure_pictures(outputs, truths, [masks[0], np.zeros_like(masks[1]), masks[2]])
    with pytest.raises(ValueError, match="picture 0: part map"):
        measure_pictures(outputs, truths, masks, [own[:5] for own in parts])
