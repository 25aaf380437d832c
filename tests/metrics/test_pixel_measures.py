"""Measures against plain loops, closed forms and pictures whose value is known."""

import math

import numpy as np
import pytest

from imagpose.metrics.pixels import mask_iou, psnr, ssim


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (20, 17, 3), dtype=np.uint8)
    noise = rng.integers(-30, 31, truth.shape)
    return (truth + noise).clip(0, 255).astype(np.uint8), truth


def test_psnr_of_a_constant_error_is_the_closed_form():
    truth = np.full((6, 5, 3), 100, np.uint8)
    assert psnr(truth + np.uint8(5), truth) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(truth - np.uint8(5), truth) == pytest.approx(20 * math.log10(255 / 5))  # no wrap-around of uint8


def masked(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((20, 17), bool)
    mask[rows, columns] = True
    return mask


def test_psnr_over_a_mask_is_a_plain_loop(pair):
    picture, truth = pair
    total, count = 0.0, 0
    for row in range(3, 11):
        for column in range(2, 9):
            for channel in range(3):
                total += (int(picture[row, column, channel]) - int(truth[row, column, channel])) ** 2
                count += 1
    expected = 10 * math.log10(255**2 / (total / count))
    assert psnr(picture, truth, masked(slice(3, 11), slice(2, 9))) == pytest.approx(expected)
    assert psnr(picture, truth) != pytest.approx(expected)


def test_psnr_of_equal_pictures_is_the_ceiling(pair):
    assert psnr(pair[1], pair[1]) == 60.0


def gaussian_ssim_map(picture: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The formula of Wang et al. with an 11 x 11 Gaussian of 1.5 pixels, one window at a time, where it fits."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    height, width, channels = truth.shape
    values = np.full(truth.shape, np.nan)
    for row in range(5, height - 5):
        for column in range(5, width - 5):
            for channel in range(channels):
                window = slice(row - 5, row + 6), slice(column - 5, column + 6), channel
                x, y = picture[window].astype(float), truth[window].astype(float)
                mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
                variance_x = (weights * (x - mean_x) ** 2).sum()
                variance_y = (weights * (y - mean_y) ** 2).sum()
                covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
                luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
                values[row, column, channel] = luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)
    return values


def test_ssim_is_the_published_formula(pair):
    expected = gaussian_ssim_map(*pair)
    assert ssim(*pair) == pytest.approx(np.nanmean(expected), abs=1e-6)
    box = slice(6, 13), slice(5, 11)
    assert ssim(*pair, masked(*box)) == pytest.approx(expected[box].mean(), abs=1e-6)
    assert ssim(pair[1], pair[1]) == pytest.approx(1.0)


def test_iou_by_hand():
    one = np.zeros((4, 5), bool)
    other = one.copy()
    one[:2, :3] = True  # 6 pixels
    other[1:4, 1:3] = True  # 6 pixels, 2 shared
    assert mask_iou(one, other) == mask_iou(other, one) == 2 / 10
    assert mask_iou(one, one) == 1.0
    assert mask_iou(one, ~one) == 0.0
    assert mask_iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1.0
