"""Photos framed around their person."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imagpose.people import Camera, ViewSpec, make_identity, render_view
from imagpose.pose import Pose
from imagpose.pose.library import library
from imagpose.serving import framing
from imagpose.serving.drawn import frame_sources
from imagpose.serving.framing import frame_photo, person_box
from imagpose.serving.inputs import GenerateInputs
from imagpose.serving.settings import GenerateSettings

SEED = 2_000_011  # of the test split
SHAPE = 256 / 176


def view_of(framing_name, yaw=0.0, fill=0.88):
    camera = Camera(framing_name, pitch=3.0, distance=4.5, fill=fill, shift=(0.0, 0.0))
    return render_view(make_identity(SEED), ViewSpec(5, yaw, camera, background=11), 256, 176)


def test_a_person_in_a_wide_photo_is_cut_out_as_the_model_knows_people():
    view = view_of("full")
    wide = Image.new("RGB", (900, 600), "grey")
    wide.paste(Image.fromarray(view.picture), (500, 250))
    framed = frame_photo(wide, view.pose.crop(-500, -250, 900, 600), None, 256, 176)
    left, top, right, bottom = framed.box
    assert framed.picture.size == (right - left, bottom - top)
    assert (bottom - top) / (right - left) == pytest.approx(SHAPE, rel=0.02)
    rows, columns = np.nonzero(view.foreground)
    assert left <= 500 + columns.min() and 500 + columns.max() <= right  # nothing of the person is cut off
    assert top <= 250 + rows.min() and 250 + rows.max() <= bottom
    assert 0.8 < np.ptp(rows) / (bottom - top) < 0.95  # and the person is as high as in the model's views
    moved = framed.pose.keypoints[:, :2] + (left - 500, top - 250)
    np.testing.assert_allclose(moved, view.pose.keypoints[:, :2], atol=0.01)


def test_a_person_cut_off_by_the_photo_stays_at_its_lower_edge():
    view = view_of("upper")
    wide = Image.new("RGB", (600, 256), "grey")
    wide.paste(Image.fromarray(view.picture), (200, 0))
    framed = frame_photo(wide, view.pose.crop(-200, 0, 600, 256), None, 256, 176)
    assert framed.box[3] == 256
    rows, columns = np.nonzero(view.foreground)
    assert framed.box[0] <= 200 + columns.min() and framed.box[2] >= 200 + columns.max() and framed.box[1] <= rows.min()


@pytest.mark.parametrize(("kind", "yaw"), [("full", 0.0), ("full", 90.0), ("upper", 0.0), ("upper", 180.0)])
def test_a_view_as_the_model_knows_it_stays_as_it_is(kind, yaw):
    view = view_of(kind, yaw)
    framed = frame_photo(Image.fromarray(view.picture), view.pose, None, 256, 176)
    assert framed.box is None and framed.picture.size == (176, 256) and framed.pose_from == "given"


def test_every_pose_of_the_library_lies_in_its_box():
    for own in library().values():
        pose = own.pose.crop(-300, -200, 1000, 900 if own.pose.inside[[10, 13]].any() else 712)
        left, top, right, bottom = person_box([pose], SHAPE)
        points = pose.keypoints[pose.inside, :2]
        assert left <= points[:, 0].min() and points[:, 0].max() <= right, own.name
        assert top < points[:, 1].min() and points[:, 1].max() <= bottom, own.name
        assert (bottom - top) / (right - left) == pytest.approx(SHAPE, rel=0.02), own.name


def test_too_few_points_say_nothing():
    points = np.zeros((18, 3), np.float32)
    points[:4] = (50, 60, 1)
    assert person_box([Pose(points, 600, 400)], SHAPE) is None


def test_without_a_detector_the_photo_stays_whole(monkeypatch):
    monkeypatch.setattr(framing, "_detector", lambda: None)
    photo = Image.new("RGB", (300, 200))
    framed = frame_photo(photo, None, None, 256, 176)
    assert framed.picture is photo and framed.pose is None and framed.pose_from is None


def test_a_photo_is_looked_at_once_and_another_one_for_itself(monkeypatch):
    class Counting:
        seen = 0

        def people(self, picture):
            self.seen += 1
            return [Pose(np.full((18, 3), (picture.getpixel((0, 0))[0], 1, 1), np.float32), *picture.size)]

    detector = Counting()
    framing._detector.cache_clear()
    monkeypatch.setattr(framing, "open_detector", lambda _: detector)
    monkeypatch.setattr(framing, "_REMEMBERED", 2)
    try:
        photos = [
            Image.new("RGB", size, (value, 0, 0)) for size, value in (((40, 60), 3), ((40, 60), 4), ((60, 40), 3))
        ]
        for number in (0, 0, 1, 0, 1, 2, 2, 1):  # of three the two last ones are remembered
            (pose,) = framing.detect_people(photos[number].copy())
            assert pose.keypoints[0, 0] == photos[number].getpixel((0, 0))[0]
            assert (pose.width, pose.height) == photos[number].size
        assert detector.seen == 3
        framing.detect_people(photos[0]).clear()
        assert detector.seen == 4 and len(framing.detect_people(photos[0])) == 1  # the list is the caller's
    finally:
        framing._detector.cache_clear()


def test_a_wide_photo_of_an_unknown_pose_is_said_to_be_whole(monkeypatch, recwarn):
    monkeypatch.setattr(framing, "_detector", lambda: None)
    settings, poses = GenerateSettings(), [library()["walk-01"].pose]
    frame_sources(GenerateInputs([Image.new("RGB", (176, 256))], poses), settings, 256, 176)
    frame_sources(GenerateInputs([Image.new("RGB", (300, 200))], poses), replace(settings, crop=False), 256, 176)
    assert not recwarn.list
    frame_sources(GenerateInputs([Image.new("RGB", (300, 200))], poses), settings, 256, 176)
    assert "source 1 (200x300) is taken whole" in str(recwarn.list[0].message)
