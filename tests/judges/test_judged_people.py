"""The judges on a batch in memory, against the judges one by one."""

import numpy as np
import pytest

from imagpose.judges.identity import embed_people
from imagpose.judges.people import JudgedPeople
from imagpose.judges.pose import find_keypoints
from imagpose.judges.silhouette import find_foreground
from imagpose.metrics.keypoints import counted_points, pck
from imagpose.metrics.pixels import mask_iou
from imagpose.people import iterate_views


@pytest.fixture(scope="module")
def people():
    """Three people: the first view of each is what is asked for, the other two are the gallery."""
    shown = [views for _, views in iterate_views(range(2_600_000, 2_600_003), 3, 256, 176, workers=1)]
    return JudgedPeople(
        np.stack([views[0].picture for views in shown]),
        np.stack([views[0].foreground for views in shown]),
        np.stack([views[0].pose.keypoints for views in shown]),
        ["ann", "bo", "cy"],
        np.stack([view.picture for views in shown for view in views[1:]]),
        ["ann", "ann", "bo", "bo", "cy", "cy"],
    )


def test_the_truth_gets_what_the_judges_say_of_it(people):
    measures = people.measure(people.truths)
    points = zip(find_keypoints(people.truths), people.keypoints, strict=True)
    shares = [pck(found, asked, counted_points(asked, 176, 256)) for found, asked in points]
    assert measures["pck"] == pytest.approx(np.mean(shares)) and measures["pck_relative"] == 1
    outlines = zip(find_foreground(people.truths), people.masks, strict=True)
    assert measures["iou"] == pytest.approx(np.mean([mask_iou(*own) for own in outlines]))
    nearest = (embed_people(people.truths) @ embed_people(people.gallery).T).argmax(1) // 2
    assert measures["rank1"] == np.mean(nearest == [0, 1, 2]) > 0
    assert measures["rank1_relative"] == 1


def test_others_in_their_place_are_wrong(people):
    measures = people.measure(np.roll(people.truths, 1, 0))
    truth = people.measure(people.truths)
    assert measures["pck"] < truth["pck"] - 0.1 and measures["iou"] < truth["iou"] - 0.1
    assert measures["pck_relative"] == pytest.approx(measures["pck"] / truth["pck"])
    assert measures["rank1"] < truth["rank1"]


def test_bad_input_is_named(people):
    with pytest.raises(ValueError, match=r"outputs have the shape \(3, 64, 176, 3\)"):
        people.measure(people.truths[:, :64])
    given = [people.truths, people.masks, people.keypoints, people.people, people.gallery, people.owners]
    with pytest.raises(ValueError, match="3, 2, 3, 3.* as many of each"):
        JudgedPeople(*given[:1], people.masks[:2], *given[2:])
    with pytest.raises(ValueError, match="does not show 1 of the people, first cy"):
        JudgedPeople(*given[:4], people.gallery[:4], people.owners[:4])
