"""Colour errors against CIE's formulas and pairs of colours whose difference is known."""

import numpy as np
import pytest

from imagpose.metrics.colour import part_colour_errors


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of sRGB in 0..1 (IEC 61966-2-1, D65)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
    )
    ratio = matrix @ linear / np.array([0.95047, 1.0, 1.08883])
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_white_and_black_are_a_hundred_apart():
    white, black, parts = (
        np.full((12, 12, 3), 255, np.uint8),
        np.zeros((12, 12, 3), np.uint8),
        np.ones((12, 12), np.uint8),
    )
    assert part_colour_errors(white, black, parts) == {1: pytest.approx(100.0, abs=0.01)}


def test_red_and_blue_are_as_far_apart_as_cie_says():
    red, blue = np.zeros((2, 12, 12, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    errors = part_colour_errors(red, blue, np.ones((12, 12), np.uint8))
    assert errors == {1: pytest.approx(176.3, abs=0.1)}  # L*a*b* (53.24, 80.09, 67.20) and (32.30, 79.19, -107.86)


def test_each_part_is_compared_by_its_mean_colour(truth, parts):
    output = truth.copy()
    output[parts == 3] = (90, 200, 30)
    errors = part_colour_errors(output, truth, parts)
    assert set(errors) == {1, 3, 4}  # the shoes have 90 pixels
    assert errors[1] == errors[4] == 0
    expected = np.linalg.norm(lab(np.array([90, 200, 30]) / 255) - lab(truth[parts == 3].mean(0) / 255))
    assert errors[3] == pytest.approx(expected, abs=0.05)


def test_texture_does_not_count_and_the_ground_is_no_part(truth, parts):
    flat = truth.copy()
    for part in (1, 3, 4):
        flat[parts == part] = truth[parts == part].mean(0).round()
    flat[parts == 0] = 255
    errors = part_colour_errors(flat, truth, parts)
    assert set(errors) == {1, 3, 4} and max(errors.values()) < 0.5


def test_a_picture_without_large_parts_has_no_errors(truth):
    assert part_colour_errors(truth, truth, np.zeros((64, 48), np.uint8)) == {}
