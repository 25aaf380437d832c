"""PCK and OKS against plain loops and against values computed by hand."""

import math

import numpy as np
import pytest

from imagpose.metrics.keypoints import COCO_SIGMAS, counted_points, oks, pck
from imagpose.pose import KEYPOINT_NAMES

# pycocotools' kpt_oks_sigmas, one for both sides.
_SIGMAS = {
    "nose": 0.26, "eye": 0.25, "ear": 0.35, "shoulder": 0.79, "elbow": 0.72, "wrist": 0.62, "hip": 1.07, "knee": 0.87,
    "ankle": 0.89,
}  # fmt: skip
COCO = {name: _SIGMAS[name.split("_")[-1]] / 10 for name in KEYPOINT_NAMES if name != "neck"}


def test_sigmas_are_cocos():
    expected = [COCO.get(name, math.nan) for name in KEYPOINT_NAMES]
    np.testing.assert_allclose(COCO_SIGMAS, expected)
    assert np.isnan(COCO_SIGMAS).sum() == 1


def test_which_points_count():
    asked = np.zeros((18, 3))
    asked[0] = [5, 5, 1]
    asked[1] = [5, 5, 0]  # missing
    asked[2] = [10, 5, 1]  # right of the picture
    asked[3] = [-0.1, 5, 1]
    asked[4] = [9.9, 7.9, 0.5]  # hidden
    asked[5] = [5, 8, 1]  # below
    assert np.flatnonzero(counted_points(asked, width=10, height=8)).tolist() == [0, 4]


def test_pck_by_hand():
    asked = np.zeros((18, 3))
    asked[0], asked[1], asked[2], asked[3] = (0, 0, 1), (30, 100, 1), (10, 50, 1), (500, 500, 0)
    counted = asked[:, 2] > 0
    counted[0] = True
    found = asked.copy()
    found[1] += [6, 8, 0]  # 10 away: a tenth of the longer side, 100
    found[2] += [0, 10.01, 0]
    assert pck(found, asked, counted) == pytest.approx(2 / 3)
    assert pck(found, asked, counted, share=0.2) == 1.0
    assert math.isnan(pck(found, asked, np.arange(18) == 1))


def test_both_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        asked, found = rng.uniform(0, 100, (2, 18, 3))
        found = asked + rng.normal(0, 8, (18, 3))
        counted, area = rng.random(18) < 0.7, rng.uniform(500, 4000)
        xs = [asked[i, 0] for i in range(18) if counted[i]]
        ys = [asked[i, 1] for i in range(18) if counted[i]]
        limit = 0.1 * max(max(xs) - min(xs), max(ys) - min(ys))
        hits, similarities = [], []
        for i, name in enumerate(KEYPOINT_NAMES):
            if counted[i]:
                distance = math.hypot(found[i, 0] - asked[i, 0], found[i, 1] - asked[i, 1])
                hits.append(distance <= limit)
                if name != "neck":
                    # COCO: e = d^2 / (2 sigma)^2 / area / 2
                    similarities.append(math.exp(-(distance**2) / (2 * COCO[name]) ** 2 / area / 2))
        assert pck(found, asked, counted) == pytest.approx(sum(hits) / len(hits))
        assert oks(found, asked, counted, area) == pytest.approx(sum(similarities) / len(similarities))


def test_nothing_to_compare_has_no_value():
    points = np.ones((18, 3))
    only_neck = np.arange(18) == KEYPOINT_NAMES.index("neck")
    assert math.isnan(oks(points, points, only_neck, 100.0))
    assert oks(points, points, ~only_neck, 100.0) == 1.0
