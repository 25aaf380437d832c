"""Data sets whose key points are found in the pictures, by networks whose answer is known (tests/conftest.py)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.deepfashion import prepare_deepfashion
from imagpose.data.folder import prepare_folder
from imagpose.data.market1501 import prepare_market1501
from imagpose.pose import write_openpose_json
from imagpose.pose.rtmpose import RTMPose

RED = ("red", (30, 20, 130, 230), (80.0, 120.0))
GREEN = ("green", (250, 60, 300, 160), (275.0, 110.0))


@pytest.fixture(autouse=True)
def networks(pose_networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pose_networks))


def problems_of(folder: Path) -> list[list[str]]:
    with (folder / "problems.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_a_folder_keeps_poses_that_are_there_and_detects_the_others(tmp_path: Path, block_person) -> None:
    anna = tmp_path / "pictures" / "anna"
    anna.mkdir(parents=True)
    alone, two, nobody = (block_person((400, 256), *people) for people in ((RED,), (RED, GREEN), ()))
    alone.save(anna / "alone.png")
    two.save(anna / "two.png")
    nobody.save(anna / "nobody.png")
    alone.save(anna / "posed.png")
    given = RTMPose(threads=1)(alone).crop(-3, -4, alone.width, alone.height)
    write_openpose_json(given, anna / "posed.json")
    prepare_folder(tmp_path / "pictures", tmp_path / "set", detect="rtmlib", workers=1)
    views = {view.view: view for view in PersonDataset(tmp_path / "set", "train").views("anna")}
    assert sorted(views) == ["alone", "posed", "two"]
    seen = given.keypoints[:, 2] > 0
    np.testing.assert_allclose(views["posed"].keypoints[seen], given.keypoints[seen], atol=1e-3)
    assert not views["posed"].keypoints[~seen].any()
    np.testing.assert_allclose(views["alone"].keypoints, RTMPose(threads=1)(alone).keypoints, atol=1e-3)
    np.testing.assert_allclose(views["two"].keypoints, views["alone"].keypoints, atol=1.5)
    assert problems_of(tmp_path / "set") == [
        ["anna/nobody.png", "nobody was found in the picture", "yes"],
        ["anna/two.png", "2 people in the picture; the largest is taken", "no"],
    ]


def test_without_detecting_a_picture_without_a_pose_is_left_out(tmp_path: Path, block_person) -> None:
    (tmp_path / "pictures" / "anna").mkdir(parents=True)
    block_person((176, 256), RED).save(tmp_path / "pictures" / "anna" / "alone.png")
    with pytest.raises(ValueError, match="no picture could be stored; the first: .*or --detect"):
        prepare_folder(tmp_path / "pictures", tmp_path / "set", workers=1)


@pytest.mark.parametrize(("fit", "frame"), [("resize", (352, 512)), ("crop", (256, 256))])
def test_deepfashion_key_points_follow_the_picture_into_the_view(tmp_path: Path, block_person, fit: str, frame) -> None:
    names = ("id_00000001/01_1_front.jpg", "id_00000001/01_3_back.jpg")
    left = 40 if fit == "crop" else 0
    width = 176 if fit == "crop" else frame[0]
    for number, name in enumerate(names):
        file = tmp_path / "img" / "WOMEN" / "Dresses" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        block = ("red", (left + 30, 20, left + 130, frame[1] - 30), (left + 80.0, 120.0 + 20 * number))
        block_person(frame, block).save(file, quality=95)
    flat = ("fashionWOMENDressesid0000000101_1front.jpg", "fashionWOMENDressesid0000000101_3back.jpg")
    (tmp_path / "train.lst").write_text("\n".join(flat) + "\n")
    (tmp_path / "test.lst").touch()
    info, _ = prepare_deepfashion(tmp_path / "img", tmp_path, tmp_path / "set", detect="rtmlib", fit=fit, workers=1)
    assert (info.settings["keypoints"], info.settings["detector"]) == ("detected", "rtmlib")
    people = PersonDataset(tmp_path / "set", "train")
    views = people.views(people.identities[0])
    assert len(views) == 2
    for view, name in zip(sorted(views, key=lambda one: one.view), names, strict=True):
        with Image.open(tmp_path / "img" / "WOMEN" / "Dresses" / name) as picture:
            found = RTMPose(threads=1)(picture).keypoints
        factors = np.array([176 / width, 256 / frame[1]])
        expected = (found[:, :2] - (left, 0)) * factors
        seen = found[:, 2] > 0
        np.testing.assert_allclose(view.keypoints[seen, :2], expected[seen], atol=1e-3)
        np.testing.assert_allclose(view.keypoints[:, 2], found[:, 2], atol=1e-6)


def test_market_takes_both_splits_and_says_that_pairs_are_not_the_published(tmp_path: Path, block_person) -> None:
    for split, person in (("train", "0002"), ("test", "0001")):
        folder = tmp_path / f"bounding_box_{split}"
        folder.mkdir()
        for camera in (1, 2):
            block = ("red", (12, 10, 52, 120), (32.0, 60.0))
            block_person((64, 128), block).save(folder / f"{person}_c{camera}s1_000451_03.jpg", quality=95)
    (tmp_path / "bounding_box_train" / "0002_c3s1_000451_03.jpg").write_bytes(
        (tmp_path / "bounding_box_train" / "0002_c1s1_000451_03.jpg").read_bytes()[:300]
    )
    _, counts = prepare_market1501(tmp_path, tmp_path / "set", detect="rtmlib", workers=1)
    pairs = {count.what: count for count in counts if count.what.endswith("pairs")}
    assert [pairs[name].found for name in ("train pairs", "test pairs")] == [2, 2]
    assert all("from detected key points" in count.note for count in pairs.values())
    (problem,) = problems_of(tmp_path / "set")
    assert problem[0] == "bounding_box_train/0002_c3s1_000451_03.jpg"


def test_key_points_come_in_one_way(tmp_path: Path) -> None:
    (tmp_path / "bounding_box_train").mkdir()
    with pytest.raises(ValueError, match="in one way: --train-annotations .* or --detect"):
        prepare_market1501(tmp_path, tmp_path / "set")
    with pytest.raises(ValueError, match="in one way: --train-annotations .* or --detect"):
        prepare_market1501(tmp_path, tmp_path / "set", train_annotations=tmp_path / "a.csv", detect="rtmlib")
    with pytest.raises(ValueError, match="in one way: --annotations .* or --detect"):
        prepare_deepfashion(tmp_path, tmp_path, tmp_path / "set", annotations=["a.csv"], detect="rtmlib")
    (tmp_path / "pictures" / "anna").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "pictures" / "anna" / "a.png")
    with pytest.raises(ValueError, match="detector 'gpu'"):
        prepare_folder(tmp_path / "pictures", tmp_path / "set", detect="gpu")
    assert not (tmp_path / "set").exists()


def test_processes_find_what_one_finds(tmp_path: Path, block_person) -> None:
    for number, name in enumerate(("anna", "ben")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for view in range(2):
            block = ("red", (30, 20, 130, 230), (70.0 + 5 * view, 100.0 + 9 * number))
            block_person((176, 256), block).save(tmp_path / "pictures" / name / f"{view}.png")
    for folder, workers in (("one", 1), ("two", 2)):
        prepare_folder(tmp_path / "pictures", tmp_path / folder, detect="rtmlib", workers=workers)
    infos = [json.loads((tmp_path / folder / "info.json").read_text()) for folder in ("one", "two")]
    assert infos[0]["shards"] == infos[1]["shards"]
