"""Finding the person in a picture alone."""

import numpy as np
import pytest
import torch

from imagpose.judges.silhouette import SilhouetteNetwork, emptied, find_foreground, soft_iou
from imagpose.metrics.pixels import mask_iou
from imagpose.people import iterate_views


@pytest.fixture(scope="module")
def validation_views():
    seeds = range(1_500_000, 1_500_006)
    return [view for _, views in iterate_views(seeds, 4, 256, 176, workers=1) for view in views]


def test_it_finds_people_it_has_never_seen(validation_views):
    found = find_foreground(np.stack([view.picture for view in validation_views]))
    values = [mask_iou(one, view.foreground) for one, view in zip(found, validation_views, strict=True)]
    assert np.mean(values) > 0.95
    assert min(values) > 0.85


def test_an_empty_place_is_empty(validation_views):
    # The outermost columns hold background in nearly all views: a place made of them alone shows nobody.
    view = next(view for view in validation_views if not view.foreground[:, :15].any())
    strip = view.picture[:, :15]
    empty = np.concatenate([strip, strip[:, ::-1]] * 6, axis=1)
    assert find_foreground(empty[None]).mean() < 0.02


def test_pictures_are_judged_alone_and_in_any_size(validation_views):
    pictures = np.stack([view.picture for view in validation_views])
    together = find_foreground(pictures)
    np.testing.assert_array_equal(together[5], find_foreground(pictures[5:6])[0])
    doubled = find_foreground(pictures[:4].repeat(2, 1).repeat(2, 2))
    assert doubled.shape == (4, 512, 352)
    for one, other in zip(doubled, together, strict=False):
        assert mask_iou(one, other.repeat(2, 0).repeat(2, 1)) > 0.95
    assert find_foreground(pictures[:0]).shape == (0, 256, 176)


def test_sides_that_cannot_be_halved():
    network = SilhouetteNetwork().eval()
    pixels = torch.randn(2, 3, 37, 21)
    assert network(pixels).shape == (2, 37, 21)


def test_soft_iou_of_masks_is_their_iou() -> None:
    one, other = torch.zeros(2, 4, 5), torch.zeros(2, 4, 5)
    one[0, :2], other[0, 1:3] = 1, 1  # 5 pixels in both, 15 in either
    assert soft_iou(one, other).tolist() == pytest.approx([1 / 3, 1.0], abs=1e-3)


def test_emptied_pictures_show_the_margin_only() -> None:
    width = 30
    pixels = torch.arange(width).float().expand(3, 3, 8, width).clone()
    foreground = torch.zeros(3, 8, width, dtype=torch.bool)
    foreground[:, 2:5, 15:20] = True
    foreground[1, 4, 3] = True  # reaches into the margin
    shown, mask = emptied(pixels, foreground, torch.tensor([True, True, False]))
    assert shown[0, 0, 0].tolist() == [*range(12), *reversed(range(12)), *range(6)]
    assert not mask[0].any()
    assert torch.equal(shown[1:], pixels[1:]) and torch.equal(mask[1:], foreground[1:])
