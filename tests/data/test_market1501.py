"""Market-1501: names, the exact pair rule, and a data set made of a tree in the raw layout."""

from __future__ import annotations

import csv
import json
import os
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.market1501 import MarketName, market_pairs, prepare_market1501
from imagpose.data.pairs import sample_pairs

ANNOTATIONS = (
    Path(os.environ.get("IMAGPOSE_LISTS", Path(__file__).parents[3] / "shared" / "data"))
    / "market1501"
    / "market-annotation-train.csv"
)
TRAIN = ("0002_c1s1_000451_03.jpg", "0002_c2s1_000301_01.jpg", "0007_c3s3_077419_03.jpg", "0007_c4s6_000810_07.jpg",
         "0002_c6s4_000776_05.jpg")  # fmt: skip
TEST = ("0001_c1s1_001051_00.jpg", "0001_c2s1_000976_01.jpg.jpg", "-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg")


def keypoints(name: str) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(sum(name.encode()))
    return rng.integers(2, 126, 18).tolist(), rng.integers(2, 62, 18).tolist()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for split, files in (("train", TRAIN), ("test", TEST)):
        folder = tmp_path / f"bounding_box_{split}"
        folder.mkdir()
        lines = ["name:keypoints_y:keypoints_x"]
        for file in files:
            Image.fromarray(np.random.default_rng(1).integers(0, 256, (128, 64, 3), np.uint8)).save(folder / file)
            rows, columns = keypoints(file)
            if file == TRAIN[4]:
                rows[2], columns[2] = -1, -1
            lines.append(f"{file}: {json.dumps(rows)}: {json.dumps(columns)}")
        (folder / "Thumbs.db").touch()
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "0001_c1s1_001051_00.jpg").touch()
    return tmp_path


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_the_grammar_of_names() -> None:
    name = MarketName("0002_c1s1_000451_03.jpg")
    assert (name.person, name.view, name.shows_somebody) == ("0002", "c1s1_000451_03", True)
    assert MarketName("0014_c5s1_001226_04.jpg.jpg").view == "c5s1_001226_04"
    assert not MarketName("-1_c1s1_000401_03.jpg").shows_somebody
    assert not MarketName("0000_c1s1_000151_01.jpg").shows_somebody
    for wrong in ("0002_c7s1_000451_03.jpg", "0002_c1s1_451_03.jpg", "0002_c1s1_000451_03.png", "2.jpg"):
        with pytest.raises(ValueError, match="no name of Market-1501"):
            MarketName(wrong)


@pytest.mark.skipif(not ANNOTATIONS.is_file(), reason="the public annotations are not here (IMAGPOSE_LISTS)")
def test_the_real_annotations_give_the_published_pairs() -> None:
    pairs = market_pairs(ANNOTATIONS, "train")
    assert len(pairs) == len(set(pairs)) == 263_632
    assert all(source.split("_")[0] == target.split("_")[0] and source != target for source, target in pairs)


def test_the_sample_is_that_of_pandas() -> None:
    """pandas 2: DataFrame({"a": range(40)}).sample(n=10, random_state=0)["a"].tolist()."""
    pairs = [(str(number), "") for number in range(40)]
    assert [int(name) for name, _ in sample_pairs(pairs, 10)] == [22, 20, 25, 4, 10, 15, 28, 11, 18, 29]
    with pytest.raises(ValueError, match="there are 40"):
        sample_pairs(pairs, 41)


def test_persons_are_stored_and_junk_and_distractors_counted(raw: Path) -> None:
    info, counts = prepare_market1501(
        raw, raw / "set", train_annotations=raw / "train.csv", test_annotations=raw / "test.csv", workers=1
    )
    assert (info.pictures, info.identities, info.skipped) == (7, 3, 0)
    found = {count.what: count.found for count in counts}
    assert (found["bounding_box_train files"], found["bounding_box_test files"]) == (5, 4)
    assert (found["left out: junk (-1)"], found["left out: a distractor (0000)"]) == (1, 1)
    assert found["query files (not used for pairs)"] == 1
    record = PersonDataset(raw / "set", "test").views("0001")[1]
    rows, columns = keypoints(TEST[1])
    assert (record.view, record.width, record.height) == ("c2s1_000976_01", 64, 128)
    np.testing.assert_allclose(record.keypoints[:, :2], np.stack([columns, rows], 1))
    train = [tuple(row) for row in rows_of(raw / "set" / "pairs-train.csv")[1:]]
    names = [[f"{p}/{MarketName(file).view}" for file in TRAIN[:4] if file.startswith(p)] for p in ("0002", "0007")]
    assert train == [pair for own in names for pair in permutations(own, 2)]
    assert len(rows_of(raw / "set" / "pairs-test.csv")[1:]) == 2


def test_a_list_of_pairs_of_somebodys_own_stays(raw: Path) -> None:
    options = {"train_annotations": raw / "train.csv", "workers": 1}
    prepare_market1501(raw, raw / "set", **options)
    prepare_market1501(raw, raw / "set", **options)
    own = raw / "set" / "pairs-train.csv"
    own.write_text("source,target\n")
    with pytest.raises(ValueError, match=r"pairs-train\.csv exists and is another list than would be written: move it"):
        prepare_market1501(raw, raw / "set", **options)
    assert own.read_text() == "source,target\n"


def test_what_an_archive_leaves_beside_the_pictures_is_passed_over(raw: Path) -> None:
    """macOS packs ``._<name>`` beside each file."""
    for folder in ("bounding_box_train", "bounding_box_test", "query"):
        (raw / folder / f"._{TRAIN[0]}").write_bytes(b"\0\5\x16\7")
    info, counts = prepare_market1501(
        raw, raw / "set", train_annotations=raw / "train.csv", test_annotations=raw / "test.csv", strict=True, workers=1
    )
    assert (info.pictures, info.skipped) == (7, 0)
    assert {count.what: count.found for count in counts}["query files (not used for pairs)"] == 1


def test_views_of_another_size(raw: Path) -> None:
    prepare_market1501(raw, raw / "set", train_annotations=raw / "train.csv", size=(256, 128), workers=1)
    record = PersonDataset(raw / "set").views("0007")[0]
    rows, columns = keypoints(TRAIN[2])
    assert (record.width, record.height) == (128, 256)
    np.testing.assert_allclose(record.keypoints[:, :2], 2.0 * np.stack([columns, rows], 1))


def test_what_is_damaged_missing_or_strange_is_listed(raw: Path) -> None:
    folder = raw / "bounding_box_train"
    (folder / TRAIN[0]).write_bytes((folder / TRAIN[0]).read_bytes()[:300])
    (folder / TRAIN[1]).unlink()
    (folder / "holiday.jpg").write_bytes(b"")
    Image.new("RGB", (64, 64)).save(folder / TRAIN[2])
    info, _ = prepare_market1501(raw, raw / "set", train_annotations=raw / "train.csv", workers=1)
    problems = {row[0].split("/")[1]: row[1] for row in rows_of(raw / "set" / "problems.csv")[1:]}
    assert set(problems) == {TRAIN[0], TRAIN[1], TRAIN[2], "holiday.jpg"}
    assert "no such picture" in problems[TRAIN[1]] and "64x64 pixels" in problems[TRAIN[2]]
    assert (info.pictures, info.skipped) == (2, 4)
    with pytest.raises(FileNotFoundError, match="folder of pictures not found"):
        prepare_market1501(raw / "nowhere", raw / "other", train_annotations=raw / "train.csv")
    with pytest.raises(ValueError, match="do folder and annotations belong together"):
        prepare_market1501(raw, raw / "other", train_annotations=raw / "test.csv")
