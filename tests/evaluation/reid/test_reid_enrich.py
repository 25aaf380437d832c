"""Features merged with those of generated pictures."""

import numpy as np
import pytest
from reid_pieces import colour_set, middle_colour

from imagpose.evaluation.reid.enrich import STANDARD_POSES, enriching, merge
from imagpose.evaluation.reid.evaluate import evaluate_reid
from imagpose.pose.library import library


def test_the_merged_feature_is_the_weighted_mean_of_length_1():
    rng = np.random.default_rng(0)
    features, turned = rng.normal(size=(5, 4)), rng.normal(size=(5, 8, 4))
    found = merge(features, turned, 0.3)
    for own, feature, others in zip(found, features, turned, strict=True):
        mixed = 0.7 * feature + 0.3 * sum(others) / 8
        assert own == pytest.approx(mixed / np.sqrt((mixed**2).sum()))


def test_standard_poses_look_from_eight_sides():
    sides = [library()[name].view for name in STANDARD_POSES]
    assert len(set(sides)) == 8 and {"front", "back", "facing left", "facing right"} < set(sides)


@pytest.mark.parametrize("parts", [["query"], ["gallery"], ["query", "gallery"]])
def test_only_the_parts_that_are_asked_for_are_turned(tmp_path, parts):
    root, drawn = colour_set(tmp_path / "set"), []

    def draw(drawings):
        drawn.extend(own.source for own in drawings)
        assert all(len(own.poses) == 8 for own in drawings)
        return [[own.source] * 8 for own in drawings]

    result = evaluate_reid(root, middle_colour, enriching(draw, middle_colour, parts, 0.5))
    assert result.ranking.mean_precision == pytest.approx(1)  # copies change nothing
    assert len(drawn) == sum({"query": 8, "gallery": 16}[part] for part in parts)


def test_other_parts_and_weights_are_refused():
    with pytest.raises(ValueError, match="enrich is 'train'"):
        enriching(None, None, ["train"], 0.5)
    with pytest.raises(ValueError, match="weight is 2"):
        enriching(None, None, ["query"], 2)
