"""The field's measures against plain loops over windows, and its resize against numbers that OpenCV gave."""

import math

import numpy as np
import pytest

from imagpose.metrics.field import cubic_resize, field_ssim, field_ssim_window


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 256, (57, 54, 3)).astype(np.float32)
    return (truth * 0.6 + rng.normal(20, 15, truth.shape)).clip(0, 255).round().astype(np.float32), truth


def windowed_ssim(prediction, truth, weights, data_range, correction):
    """The formula of Wang et al., one window at a time, wherever the window fits."""
    side = len(weights)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for row in range(truth.shape[0] - side + 1):
        for column in range(truth.shape[1] - side + 1):
            for channel in range(3):
                window = slice(row, row + side), slice(column, column + side), channel
                x, y = prediction[window].astype(float), truth[window].astype(float)
                mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
                variance_x = (weights * (x - mean_x) ** 2).sum() * correction
                variance_y = (weights * (y - mean_y) ** 2).sum() * correction
                covariance = (weights * (x - mean_x) * (y - mean_y)).sum() * correction
                luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
                values.append(luminance * (2 * covariance + c2) / (variance_x + variance_y + c2))
    return np.mean(values)


def test_ssim_has_a_9_pixel_gaussian_and_the_range_of_the_prediction(pair):
    prediction, truth = (picture[:20, :17] for picture in pair)
    offsets = np.arange(-4, 5)  # 3.5 deviations of 1.2 pixels, rounded
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.2**2))
    data_range = prediction.max() - prediction.min()
    expected = windowed_ssim(prediction, truth, weights / weights.sum(), data_range, 1)
    assert field_ssim(prediction, truth) == pytest.approx(expected, abs=1e-6)
    assert field_ssim(truth, prediction) != pytest.approx(expected, abs=1e-4)  # the range is the prediction's


def test_ssim_of_window_51_is_uniform_and_corrects_for_the_sample(pair):
    expected = windowed_ssim(*pair, np.full((51, 51), 51**-2), 255, 51**2 / (51**2 - 1))
    assert field_ssim_window(*pair) == pytest.approx(expected, abs=1e-6)


def test_what_has_no_value(pair):
    prediction, truth = pair
    assert math.isnan(field_ssim_window(prediction[:50], truth[:50]))
    assert field_ssim(np.full_like(truth, 7), truth) == 0.0
    assert field_ssim(truth, truth) == pytest.approx(1)


# cv2.resize of opencv-python-headless 5.0.0.93, INTER_CUBIC, of float32 `pixels` below, rounded to three digits.
OPENCV = {
    (4, 7): [
        [5.272, 13.184, 45.379, 99.082, 204.753, 192.435, 110.895],
        [61.205, 69.118, 110.365, 155.016, 85.672, 106.546, 183.124],
        [120.174, 127.142, 174.639, 222.984, 104.712, 100.483, 184.092],
        [176.107, 204.801, 166.903, 71.918, 119.607, 91.239, 16.731],
    ],
    (9, 3): [
        [0.196, 88.788, 145.084], [18.439, 107.031, 172.216], [48.287, 136.88, 179.568], [69.528, 158.12, 133.21],
        [95.907, 184.5, 153.537], [122.04, 215.324, 146.94], [142.293, 254.343, 42.134], [180.487, 133.969, 38.709],
        [207.076, 1.99, 81.743],
    ],
}  # fmt: skip


@pytest.mark.parametrize("size", OPENCV)
def test_the_resize_is_opencvs(size):
    pixels = ((np.arange(6)[:, None] * 37 + np.arange(5) ** 2 * 23) % 256).astype(np.uint8)
    resized = cubic_resize(np.stack([pixels, pixels // 2, pixels], 2), *size)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized[..., 0], OPENCV[size], atol=1e-3)
    np.testing.assert_allclose(resized[..., 2], OPENCV[size], atol=1e-3)


@pytest.mark.parametrize(("before", "after"), [((256, 256), (256, 176)), ((110, 75), (25, 17)), ((16, 24), (64, 48))])
def test_the_resize_is_opencvs_at_other_sizes(before, after):
    cv2 = pytest.importorskip("cv2")
    picture = np.random.default_rng(0).integers(0, 256, (*before, 3)).astype(np.uint8)
    expected = cv2.resize(picture.astype(np.float32), after[::-1], interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(cubic_resize(picture, *after), expected, atol=1e-3)


def test_a_picture_of_the_right_size_stays_as_it_is(pair):
    np.testing.assert_array_equal(cubic_resize(pair[0].astype(np.uint8), 57, 54), pair[0])
