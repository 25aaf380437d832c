"""Features merged with those of generated pictures."""

import itertools

import numpy as np
import pytest
from reid_pieces import HEIGHT, WIDTH, colour_set, middle_colour

from imagpose.data.reid import list_pictures
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


def stored_poses(root, parts):
    """Of every picture of these parts a pose of the library."""
    named = itertools.cycle(own.pose.fit(WIDTH, HEIGHT) for own in library().values())
    return {part: {own.file.name: next(named) for own in list_pictures(root, part)} for part in parts}


@pytest.mark.parametrize("parts", [["query"], ["gallery"], ["query", "gallery"]])
def test_only_the_parts_that_are_asked_for_are_turned(tmp_path, parts):
    root, drawn = colour_set(tmp_path / "set"), []

    def draw(drawings):
        drawn.extend(own.source for own in drawings)
        assert all(len(own.poses) == 8 for own in drawings)
        return [[own.source] * 8 for own in drawings]

    change = enriching(draw, middle_colour, stored_poses(root, parts), 0.5)
    result = evaluate_reid(root, middle_colour, change)
    assert result.ranking.mean_precision == pytest.approx(1)  # copies change nothing
    assert len(drawn) == sum({"query": 8, "gallery": 16}[part] for part in parts)


def test_a_picture_is_drawn_with_its_own_pose_and_without_one_keeps_its_feature(tmp_path):
    pictures = list_pictures(colour_set(tmp_path / "set"), "gallery")
    poses = stored_poses(tmp_path / "set", ["gallery"])
    without = {pictures[0].file.name, pictures[10].file.name}  # of the first and the second group that is drawn
    poses["gallery"] = {name: pose for name, pose in poses["gallery"].items() if name not in without}
    drawn = []

    def draw(drawings):
        drawn.extend(own.source_pose for own in drawings)
        return [[own.source] * 8 for own in drawings]

    def embed(found):
        return np.tile([[0.0, 1.0]], (len(list(found)), 1))

    before = np.tile([[1.0, 0.0]], (len(pictures), 1))
    after = enriching(draw, embed, poses, 0.5)("gallery", pictures, before)
    kept = [own.file.name in without for own in pictures]
    assert sum(kept) == 2 and after[kept] == pytest.approx(before[kept])
    assert after[np.logical_not(kept)] == pytest.approx(np.full((len(pictures) - 2, 2), 0.5**0.5))
    names = [own.file.name for own in pictures if own.file.name not in without]
    assert drawn == [poses["gallery"][name] for name in names]


def test_other_parts_and_weights_are_refused():
    with pytest.raises(ValueError, match="enrich is 'train'"):
        enriching(None, None, {"train": {}}, 0.5)
    with pytest.raises(ValueError, match="weight is 2"):
        enriching(None, None, {"query": {}}, 2)
