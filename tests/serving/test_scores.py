"""Scores without truth, on rendered people: what is wrong scores less."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from imagpose.people import make_identity, render_view, sample_view_specs
from imagpose.serving.scores import Scores, score_pictures


@pytest.fixture(scope="module")
def people():
    """Three views each of two people of the test split."""
    return [
        [render_view(make_identity(seed), spec, 256, 176) for spec in sample_view_specs(seed, 3)]
        for seed in (2_000_021, 2_000_034)
    ]


def test_the_right_person_in_the_right_pose_scores_most(people):
    (front, other, third), (stranger, *_) = people
    pictures = [Image.fromarray(own.picture) for own in (other, other, stranger)]
    right, wrong_pose, wrong_person = score_pictures(
        pictures, [other.pose, third.pose, stranger.pose], [Image.fromarray(front.picture)]
    )
    assert right.pose > 0.8 and wrong_pose.pose < right.pose - 0.3
    assert wrong_person.likeness < right.likeness - 0.1 and wrong_pose.likeness == pytest.approx(
        right.likeness, abs=1e-4
    )
    assert right.score > max(wrong_pose.score, wrong_person.score)


def test_likeness_is_to_the_nearest_source(people):
    """A source that says little of the person, such as a back, lowers no score."""
    (front, other, _), (stranger, *_) = people
    picture, near, far = (Image.fromarray(own.picture) for own in (other, front, stranger))
    (alone,), (among_others,) = (score_pictures([picture], [other.pose], given) for given in ([near], [near, far]))
    assert among_others.likeness == pytest.approx(alone.likeness, abs=1e-5)


def test_a_blur_is_less_sharp_and_the_source_itself_is_as_sharp(people):
    front = people[0][0]
    picture = Image.fromarray(front.picture)
    same, blurred = score_pictures(
        [picture, picture.filter(ImageFilter.GaussianBlur(1.5))], [front.pose] * 2, [picture]
    )
    assert same.sharpness == pytest.approx(1, abs=1e-6) and same.likeness == pytest.approx(1, abs=1e-4)
    assert blurred.sharpness < 0.75


def test_what_is_not_known_is_null_in_the_record():
    scores = Scores(None, 0.51234, None)
    assert scores.record() == {"score": 0.512, "pose": None, "likeness": 0.512, "sharpness": None}
    assert Scores(0.5, -0.2, 1.0).score == 0
    assert np.isfinite(scores.score)
