"""Detail measures against plain loops and numpy, and by what a blur must do to them."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from imagpose.metrics.detail import detail_correlation, gradient_energy, luminance


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(picture.astype(float), (sigma, sigma, 0)).round().astype(np.uint8)


def test_luminance_weighs_the_channels_as_rec_601():
    picture = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [7, 7, 7]]], np.uint8)
    assert luminance(picture)[0].tolist() == pytest.approx([76.245, 149.685, 29.07, 7.0])


def test_gradient_energy_is_a_plain_loop(truth, parts):
    mask, total, count = parts > 0, 0.0, 0
    grey = [[0.299 * int(r) + 0.587 * int(g) + 0.114 * int(b) for r, g, b in row] for row in truth]
    for y in range(63):
        for x in range(47):
            if mask[y, x]:
                total += math.hypot(grey[y + 1][x] - grey[y][x], grey[y][x + 1] - grey[y][x])
                count += 1
    assert gradient_energy(truth, mask) == pytest.approx(total / count)


def test_gradient_energy_of_a_ramp_is_its_slope():
    rows, columns = np.mgrid[:20, :20]
    ramp = np.repeat((3 * rows + 4 * columns)[..., None], 3, 2).astype(np.uint8)
    assert gradient_energy(ramp, np.ones((20, 20), bool)) == pytest.approx(5.0)
    assert math.isnan(gradient_energy(ramp, np.zeros((20, 20), bool)))


def test_detail_correlation_is_numpys_between_the_two_gaussians(truth, parts):
    mask, other = parts > 0, (0.5 * truth + 0.5 * np.roll(blurred(truth, 0.7), 5, 0)).astype(np.uint8)
    bands = []
    for picture in (other, truth):
        grey = picture @ np.array([0.299, 0.587, 0.114])
        bands.append((gaussian_filter(grey, 1) - gaussian_filter(grey, 4))[mask])
    found = detail_correlation(other, truth, mask)
    assert found == pytest.approx(np.corrcoef(*bands)[0, 1])
    assert 0.1 < found < 0.95


def test_the_truth_itself_is_right_and_every_blur_is_worse(truth, parts):
    mask = parts > 0
    energies = [gradient_energy(truth, mask), *(gradient_energy(blurred(truth, s), mask) for s in (0.7, 1.5, 3))]
    detail = [
        detail_correlation(truth, truth, mask),
        *(detail_correlation(blurred(truth, s), truth, mask) for s in (1.5, 3)),
    ]
    assert detail[0] == pytest.approx(1.0)
    assert energies == sorted(energies, reverse=True) and energies[2] < 0.6 * energies[0]
    assert detail == sorted(detail, reverse=True) and detail[2] < 0.9


def test_detail_sees_places_and_no_contrast(truth, parts):
    mask = parts > 0
    paler = (truth * 0.5 + 60).astype(np.uint8)
    assert detail_correlation(paler, truth, mask) == pytest.approx(1.0, abs=5e-3)
    other_noise = np.random.default_rng(9).permutation(truth.reshape(-1, 3)).reshape(truth.shape)
    assert abs(detail_correlation(other_noise, truth, mask)) < 0.2


def test_only_the_mask_counts(truth, parts):
    mask = parts == 3
    changed = truth.copy()
    changed[:4] = 255
    assert gradient_energy(changed, mask) == gradient_energy(truth, mask)
    assert detail_correlation(changed, truth, mask) == pytest.approx(1.0, abs=1e-3)


def test_a_grey_picture_shows_none_of_the_detail(truth, parts):
    grey = np.full_like(truth, 128)
    assert detail_correlation(grey, truth, parts > 0) == 0.0
    assert math.isnan(detail_correlation(truth, grey, parts > 0))
    assert math.isnan(detail_correlation(truth, truth, np.zeros((64, 48), bool)))
