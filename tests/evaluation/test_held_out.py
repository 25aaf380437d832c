"""Who is measured, what they are seen from, and the baselines that know no model."""

from types import SimpleNamespace

import numpy as np
import pytest

from imagpose.evaluation.baselines import mean_colour_drawing
from imagpose.evaluation.held_out import direction, held_out_people
from imagpose.people import TEST_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS
from imagpose.people.splits import RESERVED_FROM


def test_nobody_measured_is_trained_on(people):
    for person in people:
        assert person.seed in TEST_SEEDS
        assert person.seed not in TRAIN_SEEDS and person.seed not in VALIDATION_SEEDS
        assert person.seed < RESERVED_FROM
    assert len({person.seed for person in people}) == 2


@pytest.mark.parametrize(
    ("yaw", "name"),
    [
        (0, "front"),
        (44, "front"),
        (316, "front"),
        (46, "side"),
        (134, "side"),
        (180, "back"),
        (224, "back"),
        (270, "side"),
    ],
)
def test_directions(yaw, name):
    assert direction(SimpleNamespace(yaw=yaw)) == name


def test_views_of_a_person_are_what_they_are_called(people):
    for person in people:
        assert list(person.targets) == ["front", "side", "back"]
        for name in ("front", "side", "back"):
            source, target = getattr(person, name), person.targets[name]
            assert direction(source.spec) == direction(target.spec) == name
        views = [person.front, person.side, person.back, *person.targets.values()]
        assert len({view.spec.pose_seed for view in views}) == 6
        assert len({view.spec.background for view in views}) == 1
        # From behind the face cannot be seen (key points 0, 14, 15: nose and eyes).
        assert not (person.back.pose.keypoints[[0, 14, 15], 2] == 1).any()


@pytest.mark.parametrize("count", [0, -3, True, 1_000_001])
def test_a_number_of_people_that_cannot_be(count):
    with pytest.raises(ValueError, match="identities is"):
        held_out_people(count, 64, 48)


def test_mean_colour_drawing_by_hand():
    picture = np.array([[[10, 0, 0], [20, 0, 0], [0, 40, 0]], [[30, 0, 0], [0, 0, 90], [0, 0, 101]]], np.uint8)
    parts = np.array([[0, 0, 1], [0, 2, 2]], np.uint8)
    source = SimpleNamespace(picture=picture, parts=parts, foreground=parts > 0)
    target = SimpleNamespace(parts=np.array([[2, 1], [0, 3], [0, 0]], np.uint8))
    person = [0, 13, 64]  # mean of (0, 40, 0), (0, 0, 90), (0, 0, 101), for part 3, which the source does not show
    expected = [[[0, 0, 96], [0, 40, 0]], [[20, 0, 0], person], [[20, 0, 0], [20, 0, 0]]]
    np.testing.assert_array_equal(mean_colour_drawing(source, target), expected)


def test_the_oracle_knows_the_outline(people):
    person = people[0]
    target = person.targets["back"]
    drawing = mean_colour_drawing(person.front, target)
    outside = drawing[~target.foreground]
    assert (outside == outside[0]).all()
    colours = np.unique(drawing[target.foreground], axis=0)
    assert len(colours) <= len(np.unique(target.parts))
