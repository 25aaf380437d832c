"""The key point judge on drawn dots: its network, its loss, and pictures moved together with their key points."""

import math

import numpy as np
import pytest
import torch

from imagpose.judges.pose import PoseEstimator, Reach, heatmap_loss, keypoints_from_heatmaps, move
from imagpose.pose import KEYPOINT_NAMES

REACH = Reach(15.0, 1.3, 0.1)


def test_pictures_and_key_points_move_together() -> None:
    rng = np.random.default_rng(0)
    count, height, width, index = 12, 60, 80, KEYPOINT_NAMES.index("right_wrist")
    keypoints = torch.from_numpy(np.tile([40.0, 30.0, 1.0], (count, 18, 1)).astype(np.float32))
    keypoints[:, index, 0], keypoints[:, index, 1] = 52.0, 24.0
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    dot = torch.exp(-((columns - 52) ** 2 + (rows - 24) ** 2) / 8)
    pixels = dot.expand(count, 3, height, width)
    moved, places = move(pixels, keypoints, REACH, rng)
    swapped = 0
    for picture, points in zip(moved[:, 0], places, strict=True):
        weight = picture / picture.sum()
        found = torch.stack([(weight * columns).sum(), (weight * rows).sum()])
        left, right = points[KEYPOINT_NAMES.index("left_wrist"), :2], points[index, :2]
        mirrored = (found - left).norm() < (found - right).norm()
        swapped += int(mirrored)
        torch.testing.assert_close(found, left if mirrored else right, atol=0.3, rtol=0)
    assert 2 < swapped < 10


def test_a_key_point_that_leaves_the_picture_is_missing() -> None:
    keypoints = torch.zeros(40, 18, 3)
    keypoints[..., 0], keypoints[..., 1], keypoints[..., 2] = 1.0, 1.0, 1.0
    _, places = move(torch.zeros(40, 3, 64, 64), keypoints, REACH, np.random.default_rng(1))
    inside = ((places[..., :2] >= 0) & (places[..., :2] < 64)).all(dim=-1)
    assert torch.equal(places[..., 2] == 1, inside)
    assert 0 < inside.float().mean() < 1


def test_heatmap_loss_is_the_cross_entropy_computed_plainly() -> None:
    torch.manual_seed(0)
    logits, positions = torch.randn(1, 2, 3, 4), torch.tensor([[[6.0, 4.0], [14.0, 10.0]]])
    weights, share = [], torch.softmax(logits[0, 0].flatten(), 0)
    for row in range(3):
        for column in range(4):
            x, y = (column + 0.5) * 4, (row + 0.5) * 4
            weights.append(math.exp(-((x - 6) ** 2 + (y - 4) ** 2) / 32))
    expected = -sum(w / sum(weights) * math.log(p) for w, p in zip(weights, share.tolist(), strict=True))
    loss = heatmap_loss(logits, positions, torch.tensor([[1.0, 0.0]]))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_positions_are_read_between_the_cells() -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(24.0), indexing="ij")
    x, y = 34.6, 81.2
    logits = -((columns + 0.5 - x / 4) ** 2 + (rows + 0.5 - y / 4) ** 2) / 0.5
    logits[2, 2] = -5.0  # far away and lower: no share
    found = keypoints_from_heatmaps(logits[None, None])[0, 0]
    assert found.tolist() == pytest.approx([x, y], abs=0.1)


def test_the_estimator_takes_any_size() -> None:
    torch.manual_seed(0)
    network = PoseEstimator().eval()
    pixels = torch.rand(2, 3, 75, 51)
    with torch.no_grad():
        points = network.keypoints(pixels)
        alone = network.keypoints(pixels[1:])
    torch.testing.assert_close(points[1:], alone, atol=1e-3, rtol=1e-4)
    assert float(points[..., 2].min()) >= 0 and float(points[..., 2].max()) <= 1


def test_pictures_move_as_far_as_the_reach_and_no_further() -> None:
    keypoints = torch.ones(300, 18, 3)
    keypoints[..., 0], keypoints[..., 1] = 60.0, 30.0  # 20 right of the middle of 80 x 60, or 20 left where mirrored

    def places(reach: Reach) -> torch.Tensor:
        """Of the nose, from the middle, as if never mirrored."""
        _, moved = move(torch.zeros(300, 3, 60, 80), keypoints, reach, np.random.default_rng(2))
        found = moved[:, 0, :2] - torch.tensor([40.0, 30.0])
        return torch.where(found[:, :1] < 0, found * torch.tensor([-1.0, 1.0]), found)

    zoomed = places(Reach(0.0, 1.5, 0.0))[:, 0] / 20
    assert 1 / 1.5 <= float(zoomed.min()) < 0.7 and 1.45 < float(zoomed.max()) <= 1.5 + 1e-5
    turned = places(Reach(30.0, 1.0, 0.0))
    angles = torch.atan2(turned[:, 1], turned[:, 0]).rad2deg()
    assert -30.01 <= float(angles.min()) < -28 and 28 < float(angles.max()) <= 30.01
    down = places(Reach(0.0, 1.0, 0.25))[:, 1]
    assert -15.01 <= float(down.min()) < -14 and 14 < float(down.max()) <= 15.01
