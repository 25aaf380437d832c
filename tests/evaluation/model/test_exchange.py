"""Archives of other methods get our names, and other methods get our requests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from model_pieces import PAIRS, make_person, picture
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.pairs import write_pairs
from imagpose.data.prepare import Person, write_dataset
from imagpose.data.records import make_record
from imagpose.evaluation.exchange import import_pictures, write_requests
from imagpose.evaluation.model_pictures import find_made
from imagpose.evaluation.model_requests import ModelEvaluation
from imagpose.pose import read_pose

DRESS = ("WOMEN-Dresses-00000001-01", "WOMEN/Dresses/id_00000001")
FLAT = "fashionWOMENDressesid0000000101"


def make_fashion(person: Person):
    """As `make_person`, from files of DeepFashion's raw tree."""
    records = []
    for own in make_person(person)[0]:
        file = f"{DRESS[1]}/01_{own.view[0]}_{own.view[1:]}.jpg"
        settings = {"identity": own.identity, "view": own.view, "split": own.split, "source_file": file}
        records.append(make_record(own.decode(), own.pose, **settings))
    return records, []


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    people = [Person(DRESS[0], "test", ("1front", "2side", "3back"))]
    write_dataset(tmp_path / "fashion", people, make_fashion, {}, workers=1)
    names = [f"{DRESS[0]}/{view}" for view in people[0].views]
    write_pairs([(names[0], names[1]), (names[1], names[2])], tmp_path / "fashion" / "pairs-test.csv")
    return tmp_path / "fashion"


def archive(folder: Path, *names: str) -> Path:
    """Pictures of these names, each of its own grey."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number + 1,) * 3).save(folder / name)
    return folder


def grey(file: Path) -> int:
    return int(np.asarray(Image.open(file))[0, 0, 0])


@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        ("pidm", f"{FLAT}_1front_2_{FLAT}_2side_vis.png", f"{FLAT}_2side_2_{FLAT}_3back_vis.png"),
        ("cfld", f"{FLAT}_1front_2_{FLAT}_2side_vis.png", f"deep/{FLAT}_2side_to_{FLAT}_3back.png"),
        ("pcdms", f"{FLAT}_1front_to_{FLAT}_2side.png", f"{FLAT}_2side.jpg_to_{FLAT}_3back.jpg.png"),
        ("flat", f"deep{FLAT}_1front_to_deep{FLAT}_2side.png", f"{DRESS[0]}_2side_to_{DRESS[0]}_3back.png"),
    ],
)
def test_archives_become_a_baselines_folder(tmp_path: Path, fashion: Path, rule: str, first: str, second: str) -> None:
    theirs = archive(tmp_path / "theirs", first, second, "readme.png", f"{FLAT}_1front_to_{FLAT}_9none.png")
    said = import_pictures(theirs, rule, fashion, tmp_path / "out")
    assert "2 pictures copied" in said and "2 not matched" in said and "0 of 2 pairs have no picture" in said
    assert (tmp_path / "out/unmatched.txt").read_text().split() == [f"{FLAT}_1front_to_{FLAT}_9none.png", "readme.png"]
    pairs = [(f"{DRESS[0]}/{one}", f"{DRESS[0]}/{other}") for one, other in (("1front", "2side"), ("2side", "3back"))]
    found = find_made(tmp_path / "out", pairs)
    assert [grey(file) for file in found] == [grey(theirs / first), grey(theirs / second)] == [1, 2]
    with pytest.raises(ValueError, match="--overwrite"):
        import_pictures(theirs, rule, fashion, tmp_path / "out")


def test_what_is_wrong_with_an_archive_is_said(tmp_path: Path, fashion: Path) -> None:
    half = archive(tmp_path / "half", f"{FLAT}_2side_to_{FLAT}_3back.png")
    assert f"1 of 2 pairs have no picture, first {DRESS[0]}/1front to" in import_pictures(
        half, "flat", fashion, tmp_path / "a"
    )
    twice = archive(tmp_path / "twice", f"{FLAT}_2side_to_{FLAT}_3back.png", f"b/{FLAT}_2side_to_{FLAT}_3back.png")
    with pytest.raises(ValueError, match="pictures of one pair: 1"):
        import_pictures(twice, "flat", fashion, tmp_path / "b")
    with pytest.raises(ValueError, match="names two views of a person"):
        import_pictures(half, "pidm", fashion, tmp_path / "b")
    with pytest.raises(ValueError, match="archive 'x': one of pidm, pcdms, cfld, flat expected"):
        import_pictures(half, "x", fashion, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_requests_are_whole_and_their_answers_are_a_baseline(tmp_path: Path, data: Path) -> None:
    count = write_requests(ModelEvaluation("", data, ("T1", "T3", "star")), tmp_path / "out")
    found = json.loads((tmp_path / "out/requests.json").read_text())
    assert count == len(found["requests"]) == 3 + 2 + 2  # bo has too few views for T3
    t3 = next(own for own in found["requests"] if own["scenario"] == "T3")
    assert (t3["sources"], t3["targets"]) == (["ann/a", "ann/c?", "ann/d"], ["ann/b"])
    assert t3["answers"] == ["T3/ann/a_to_b.png"]
    assert found["views"].keys() == {name for own in found["requests"] for name in (*own["sources"], *own["targets"])}
    truths = {f"{own.identity}/{own.view}": own for own in PersonDataset(data, "test").stream()}
    for name, files in found["views"].items():
        np.testing.assert_array_equal(
            np.asarray(Image.open(tmp_path / "out" / files["picture"])), truths[name].decode()
        )
        pose = read_pose(tmp_path / "out" / files["pose"])
        np.testing.assert_allclose(pose.keypoints, truths[name].keypoints, atol=1e-3)
        assert Image.open(tmp_path / "out" / files["skeleton"]).size == (truths[name].width, truths[name].height)
    for own in found["requests"]:
        for target, answer in zip(own["targets"], own["answers"], strict=True):
            (tmp_path / "theirs" / answer).parent.mkdir(parents=True, exist_ok=True)
            Image.open(tmp_path / "out" / found["views"][target]["picture"]).save(tmp_path / "theirs" / answer)
    for scenario in ("T1", "star"):
        made = find_made(tmp_path / "theirs" / scenario, PAIRS)
        np.testing.assert_array_equal(np.asarray(Image.open(made[1])), picture("ann", 2))
