"""Target poses are fitted to the body in the sources, and the record says so."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagpose.pose import Pose
from imagpose.pose.library import named_poses
from imagpose.pose.retarget import retarget
from imagpose.serving.fitting import fit_inputs
from imagpose.serving.framing import Framed
from imagpose.serving.inputs import GenerateInputs
from imagpose.serving.settings import GenerateSettings

PHOTO = Image.new("RGB", (176, 256))


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: None)


@pytest.fixture
def walk() -> Pose:
    return named_poses("walk-03")[0].pose


@pytest.fixture
def own() -> Pose:
    return named_poses("stand-01")[0].pose


def framed(pose: Pose | None) -> Framed:
    return Framed(PHOTO, pose, None, None, None if pose is None else "given")


def inputs_of(*poses: Pose) -> GenerateInputs:
    return GenerateInputs([PHOTO], list(poses))


def test_poses_are_fitted_by_all_known_sources(walk, own):
    few = Pose(np.where(np.arange(18)[:, None] < 3, walk.keypoints, 0), walk.width, walk.height)
    inputs = inputs_of(walk, few)
    fitted, said = fit_inputs(inputs, [framed(own), framed(None), framed(walk)], GenerateSettings())
    expected = retarget(walk, [own, walk])
    np.testing.assert_array_equal(fitted.poses[0].keypoints, expected.keypoints)
    np.testing.assert_array_equal(fitted.poses[1].keypoints, few.keypoints)
    assert (expected.keypoints != walk.keypoints).any()
    assert said == "to the body in 2 of 3 sources, place and size as in the pose, but 1 with fewer than 5 points"
    assert inputs.poses[0] is walk  # the request itself is as it was asked for


def test_place_and_size_of_the_source_on_request(walk, own):
    small = own.resize(own.width // 2, own.height // 2).crop(0, 0, own.width, own.height)
    fitted, said = fit_inputs(inputs_of(walk), [framed(small)], GenerateSettings(place="source"))
    np.testing.assert_array_equal(fitted.poses[0].keypoints, retarget(walk, [small], place="source").keypoints)
    assert "as in the first source" in said


def test_without_a_known_body_poses_stay(walk, own, monkeypatch):
    inputs = inputs_of(walk)
    same, said = fit_inputs(inputs, [framed(None)], GenerateSettings())
    assert same is inputs and said.startswith("no: the person's pose is known in no source; give --source-pose")
    same, said = fit_inputs(inputs, [framed(own)], GenerateSettings(retarget=False))
    assert same is inputs and said == "no: not asked for"
    monkeypatch.setattr("imagpose.serving.fitting.largest_person", lambda picture: own)
    assert fit_inputs(inputs, [framed(None)], GenerateSettings())[0] is inputs  # it was looked for in framing already
    fitted, _ = fit_inputs(inputs, [framed(None)], GenerateSettings(crop=False))
    np.testing.assert_array_equal(fitted.poses[0].keypoints, retarget(walk, [own]).keypoints)


def test_settings_that_do_not_go_together():
    with pytest.raises(ValueError, match="place is 'left'; one of pose, source expected"):
        GenerateSettings(place="left")
    with pytest.raises(ValueError, match="leave --no-retarget out"):
        GenerateSettings(place="source", retarget=False)
