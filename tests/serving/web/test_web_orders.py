"""What is taken from a browser, and what is refused, in one line each."""

from __future__ import annotations

import errno
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from imagpose.pipeline.sampling import Sampling
from imagpose.pose import read_pose_file
from imagpose.pose.library import library
from imagpose.serving.settings import GenerateSettings
from imagpose.serving.web.limits import Limits, inside, remove_old
from imagpose.serving.web.orders import Photo, read_order

SMALL = Limits(file_bytes=100_000, picture_pixels=10_000, photos=2, poses=3, steps=30, side=300, views=9)


@pytest.fixture
def order(tmp_path, photo, pose_json):
    def read(**changes):
        given = {"photos": [Photo(photo)], "poses": [pose_json(0)], "settings": {"units": "pixels"}, **changes}
        return read_order(
            given["photos"], given["poses"], given["settings"], folder=tmp_path, models=["a", "b"], limits=SMALL
        )

    return read


def test_defaults_and_settings(order, pose_json, photo):
    plain = order(settings={"units": "pixels", "scenario": None, "grid": "", "size": ""})
    assert plain.model == "a" and plain.settings == GenerateSettings()
    assert plain.inputs.source_poses is None and plain.photos == (photo.resolve(),)
    given = {
        "units": "pixels", "model": "b", "scenario": "T2", "grid": "2x3", "size": "128x64", "crop": False, "steps": 5.0,
        "guidance_scale": 3, "seed": 9, "samples": 2.0, "background": "#102030",
    }  # fmt: skip
    full = order(settings=given, photos=[Photo(photo, pose_json(1))])
    expected = Sampling(5, 3.0, seed=9)
    assert full.settings == GenerateSettings(
        "T2", "2x3", (128, 64), samples=2, background="#102030", crop=False, sampling=expected
    )
    assert full.model == "b" and len(full.inputs.source_poses) == 1


def test_a_name_of_the_library_is_a_pose(order):
    found = order(poses=["walk-03"]).inputs.poses[0]
    np.testing.assert_array_equal(found.keypoints, library()["walk-03"].pose.keypoints)


def test_a_pose_is_the_one_that_its_file_in_the_archive_gives(order, pose_json):
    exact = pose_json(0)
    exact["people"][0]["pose_keypoints_2d"][0] += 0.00004
    kept, plain = order(poses=[exact]).inputs.poses[0], order().inputs.poses[0]
    np.testing.assert_array_equal(kept.keypoints, plain.keypoints)


def test_source_poses_are_taken_of_all_photos_or_of_none(order, photo, pose_json):
    both = [Photo(photo, pose_json(1)), Photo(photo, pose_json(2))]
    assert len(order(photos=both).inputs.source_poses) == 2
    assert order(photos=[both[0], Photo(photo)]).inputs.source_poses is None


def test_a_pose_file_that_lies_beside_an_upload_is_not_read(order, photo, pose_json):
    photo.with_suffix(".json").write_text(
        json.dumps([pose_json(1), pose_json(2)])
    )  # of two people: reading it would fail
    found = order(photos=[Photo(photo)]).inputs
    assert found.source_poses is None and found.files["source_poses"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photos": []}, "no photo"),
        ({"poses": []}, "no target pose"),
        ({"poses": 4}, "4 target poses: this page takes at most 3"),
        ({"photos": 3}, "3 photos: this page takes at most 2"),
        ({"settings": {"steps": 31}}, "31 steps"),
        ({"settings": {"steps": 0}}, "at least 1"),
        ({"settings": {"steps": 2.5}}, "steps must be a whole number"),
        ({"settings": {"seed": float("inf")}}, "seed must be a whole number"),
        ({"settings": {"seed": float("nan")}}, "seed must be a whole number"),
        ({"settings": {"size": "9" * 5000 + "x9"}}, "size is '9{40}'; height x width expected"),
        ({"settings": {"size": "400x100"}}, "400 pixels a side"),
        ({"settings": {"size": "8x8"}}, "from 16 to 4096"),
        ({"settings": {"size": "large"}}, "256x176"),
        ({"settings": {"grid": "4x4"}}, "16 slots of the grid"),
        ({"settings": {"grid": "99999999x99999999"}}, "grid"),
        ({"settings": {"scenario": "T9"}}, "T9"),
        ({"settings": {"model": "/etc"}}, "model '/etc': one of a, b"),
        ({"settings": {"guidance_scale": "much"}}, "guidance_scale must be a number"),
        ({"settings": {"crop": 1}}, "crop must be true or false"),
        ({"settings": {"device": "cuda"}}, "no setting is named 'device'"),
        ({"settings": {"samples": 33}}, "33 pictures: this page takes at most 32"),
        ({"settings": {"samples": 11}, "poses": 3}, "33 pictures: this page takes at most 32"),
        ({"settings": {"background": "no colour"}}, "background"),
        ({"settings": {"anchor": True}}, "no setting is named 'anchor'"),
        ({"settings": {"seed": -1}}, "seed"),
        ({"poses": ["/etc/passwd"]}, "target pose 1: OpenPose JSON, any other"),
        ({"poses": [[["/etc/passwd"]]]}, "target pose 1"),
        ({"poses": [{"people": []}]}, "target pose 1"),
    ],
)
def test_what_is_not_legal_is_refused_in_one_line(order, photo, pose_json, changes, message):
    for name, one in (("poses", pose_json(0)), ("photos", Photo(photo))):
        if isinstance(changes.get(name), int):
            changes = {**changes, name: [one] * changes[name]}
    if "settings" in changes:
        changes = {**changes, "settings": {"units": "pixels", **changes["settings"]}}
    with pytest.raises(ValueError, match=message) as raised:
        order(**changes)
    assert "\n" not in str(raised.value)


def test_a_frame_as_narrow_as_a_ribbon_is_refused(order, pose_json):
    wide = {**pose_json(0), "canvas_width": 300}
    with pytest.raises(ValueError, match="one side at most 8 times the other"):
        order(poses=[wide])


def test_large_photos_are_refused_by_bytes_and_by_pixels(order, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "many-bytes.png")
    Image.new("RGB", (200, 51)).save(tmp_path / "many-pixels.png")
    for name, message in (("many-bytes", "at most 0.0953674 MB"), ("many-pixels", "51x200 pixels")):
        with pytest.raises(ValueError, match=message):
            order(photos=[Photo(tmp_path / f"{name}.png")])


def test_no_path_leaves_the_folder(tmp_path):
    folder, secret = tmp_path / "page", tmp_path / "secret.png"
    folder.mkdir()
    secret.write_bytes(b"")
    own = folder / "own.png"
    own.write_bytes(b"")
    (folder / "link.png").symlink_to(secret)
    assert inside(folder, str(own)) == own.resolve()
    for path in (
        secret,
        folder / ".." / "secret.png",
        folder / "link.png",
        folder,
        folder / "gone.png",
        "own.png",
        "http://a/b.png",
    ):
        with pytest.raises(ValueError, match="no such file here") as raised:
            inside(folder, path)
        assert str(tmp_path) not in str(raised.value)


def test_old_files_and_folders_go_and_the_others_stay(tmp_path):
    for name in ("old", "new", "people"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    (tmp_path / "old.txt").write_text("")
    for name in ("old", "people", "old.txt"):
        os.utime(tmp_path / name, (0, 0))
    remove_old(tmp_path, 3600, keep={tmp_path / "people"})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new", "people"]


def test_a_folder_that_is_written_to_stays_and_the_other_old_ones_go(tmp_path, monkeypatch):
    for name in ("busy", "old"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    remove = shutil.rmtree

    def remove_if_idle(path):
        if path.name == "busy":
            raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", remove_if_idle)
    remove_old(tmp_path, 3600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["busy"]


def test_room_is_found_though_folders_vanish_meanwhile(tmp_path, monkeypatch):
    for name in ("gone", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(100_000))
    scan = os.scandir

    def scan_what_is_left(path):
        if str(path).endswith("gone"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_what_is_left)
    Limits(kept_bytes=150_000).check_room(tmp_path, 20_000)
    with pytest.raises(ValueError, match="no room"):
        Limits(kept_bytes=150_000).check_room(tmp_path, 60_000)


def test_what_the_page_sends_reads_as_it_was_drawn(pose_json, pose):
    np.testing.assert_allclose(read_pose_file(pose_json(3)).poses[0].keypoints, pose(3).keypoints, atol=5e-4)
