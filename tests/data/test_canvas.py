"""Views as tensors: what the pipeline would make of the same pictures and poses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_people import small_picture, small_pose, small_record

from imagpose.data.augment import UNCHANGED, Change
from imagpose.data.canvas import load_views
from imagpose.pictures import fit_view
from imagpose.pose import draw_skeleton


def test_pixels_and_padded_skeletons() -> None:
    """24 x 40 pixels on multiples of 32: 4 columns and 12 rows on either side repeat the edge."""
    tensors = load_views([small_record("1", 0), small_record("1", 1), small_record("1", 0)], 40, 24, 32)
    assert tensors.pixels.dtype == torch.float32 and tensors.skeletons.dtype == torch.uint8
    for slot, number in enumerate((100, 101, 100)):
        picture = np.asarray(small_picture(number)).astype(np.float64)
        assert np.allclose(tensors.pixels[slot].numpy(), (picture / 127.5 - 1).transpose(2, 0, 1), atol=1e-6)
        drawn = np.asarray(draw_skeleton(small_pose(number)))
        padded = np.pad(drawn, ((12, 12), (4, 4), (0, 0)), mode="edge").transpose(2, 0, 1)
        assert np.array_equal(tensors.skeletons[slot].numpy(), padded)


def test_changes_reach_picture_and_skeleton() -> None:
    record = small_record("1", 0)
    tensors = load_views([record, record], 40, 24, 8, [UNCHANGED, Change(mirror=True)])
    assert torch.equal(tensors.pixels[1], tensors.pixels[0].flip(-1))
    drawn = np.asarray(draw_skeleton(small_pose(100).mirror())).transpose(2, 0, 1)
    assert np.array_equal(tensors.skeletons[1].numpy(), drawn)


def test_views_of_another_size_are_fitted() -> None:
    """24 x 40 into 64 x 80: twice as large, 8 columns of edge on either side."""
    tensors = load_views([small_record("2", 0)], 80, 64, 16)
    picture = np.asarray(fit_view(small_picture(200), 64, 80)).astype(np.float64)
    assert np.allclose(tensors.pixels[0].numpy(), (picture / 127.5 - 1).transpose(2, 0, 1), atol=1e-6)
    drawn = np.asarray(draw_skeleton(small_pose(200).fit(64, 80))).transpose(2, 0, 1)
    assert np.array_equal(tensors.skeletons[0].numpy(), drawn)


def test_one_change_per_record() -> None:
    with pytest.raises(ValueError):
        load_views([small_record("1", 0)], 40, 24, 8, [UNCHANGED, UNCHANGED])
