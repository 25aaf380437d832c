"""DeepFashion In-shop: names, and data sets made of trees in the exact raw layout."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.deepfashion import prepare_deepfashion
from imagpose.data.deepfashion_names import parse_name

LISTS = Path(os.environ.get("IMAGPOSE_LISTS", Path(__file__).parents[3] / "shared" / "data")) / "deepfashion"

TRAIN = (
    "WOMEN/Tees_Tanks/id_00007838/05_7_additional.jpg",
    "WOMEN/Tees_Tanks/id_00007838/05_1_front.jpg",
    "WOMEN/Tees_Tanks/id_00007838/05_3_back.jpg",
    "WOMEN/Tees_Tanks/id_00007838/02_1_front.jpg",  # another colour: another identity
    "MEN/Jackets_Vests/id_00000084/01_4_full.jpg",
    "MEN/Jackets_Vests/id_00000084/01_2_side.jpg",
)
TEST = ("WOMEN/Blouses_Shirts/id_00000693/02_1_front.jpg", "WOMEN/Blouses_Shirts/id_00000693/02_3_back.jpg")


def flat(path: str) -> str:
    """The renaming as the field's scripts do it, step by step."""
    gender, category, item, file = path.split("/")
    first, rest = file.split("_", 1)
    return "fashion" + gender + category + item.replace("_", "") + first + "_" + rest.replace("_", "")


def keypoints(name: str) -> tuple[list[int], list[int]]:
    """Rows and columns in a frame of 256x176."""
    rng = np.random.default_rng(sum(name.encode()))
    return rng.integers(5, 250, 18).tolist(), rng.integers(5, 170, 18).tolist()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """img_highres with pictures of the originals' aspect, lists and annotations beside it."""
    for path in (*TRAIN, *TEST):
        file = tmp_path / "img_highres" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(np.random.default_rng(sum(path.encode())).integers(0, 256, 3).tolist())
        Image.new("RGB", (75, 110), colour).save(file)
    (tmp_path / "train.lst").write_text("\n".join(flat(path) for path in TRAIN) + "\n")
    (tmp_path / "test.lst").write_text("\n".join(flat(path) for path in TEST) + "\n")
    lines = ["name:keypoints_y:keypoints_x"]
    for path in (*TRAIN, *TEST):
        rows, columns = keypoints(path)
        if path == TRAIN[1]:
            rows[8], columns[8] = -1, -1  # the right hip is missing
        lines.append(f"{flat(path)}: {json.dumps(rows)}: {json.dumps(columns)}")
    (tmp_path / "annotation.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def prepare(raw: Path) -> Callable:
    def run(**options):
        values = {
            "pictures": raw / "img_highres", "lists": raw, "out": raw / "set", "annotations": [raw / "annotation.csv"],
            "workers": 1,
        }  # fmt: skip
        values |= options
        return prepare_deepfashion(values.pop("pictures"), values.pop("lists"), values.pop("out"), **values)

    return run


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_names_of_the_tree_and_flat_names_say_the_same() -> None:
    name = parse_name("img/WOMEN/Tees_Tanks/id_00007838/05_7_additional.jpg")
    assert name is not None and name == parse_name("fashionWOMENTees_Tanksid0000783805_7additional.jpg")
    assert (name.category, name.item, name.colour, name.view) == ("Tees_Tanks", "00007838", "05", "7additional")
    assert name.identity == "WOMEN-Tees_Tanks-00007838-05"
    for path in (*TRAIN, *TEST):
        parsed = parse_name(path)
        assert parsed is not None and parsed.flat == flat(path)
    assert parse_name("deepfashionMENPantsid0000161101_1front.png") == parse_name(
        "MEN/Pants/id_00001611/01_1_front.jpg"
    )
    assert parse_name("README.txt") is None and parse_name("KIDS/Pants/id_00001611/01_1_front.jpg") is None


@pytest.mark.skipif(not LISTS.is_dir(), reason="the benchmark's lists are not here (IMAGPOSE_LISTS)")
def test_all_names_of_the_benchmark_are_understood() -> None:
    groups: dict[str, set[str]] = {}
    for split, count in (("train", 48_674), ("test", 4_038)):
        names = [parse_name(line) for line in (LISTS / f"{split}.lst").read_text().split()]
        assert len(names) == count and None not in names
        assert [name.flat for name in names if name] == (LISTS / f"{split}.lst").read_text().split()
        groups[split] = {name.identity for name in names if name}
    assert (len(groups["train"]), len(groups["test"])) == (12_029, 1_000)
    assert not groups["train"] & groups["test"]


def test_high_resolution_pictures_are_resized_and_key_points_follow(raw: Path, prepare) -> None:
    info, counts = prepare(size=(512, 352))
    assert (info.pictures, info.identities, info.skipped) == (8, 4, 0)
    record = PersonDataset(raw / "set", "train").views("WOMEN-Tees_Tanks-00007838-05")[-1]
    assert (record.view, record.width, record.height) == ("7additional", 352, 512)
    rows, columns = keypoints(TRAIN[0])
    np.testing.assert_allclose(record.keypoints[:, 0], np.array(columns) * 2.0)
    np.testing.assert_allclose(record.keypoints[:, 1], np.array(rows) * 2.0)
    assert [count.found for count in counts[:2]] == [6, 2]


def test_pairs_need_the_four_joints_and_stay_within_a_garment_of_one_colour(raw: Path, prepare) -> None:
    _, counts = prepare()
    pairs = rows_of(raw / "set" / "pairs-train.csv")
    assert pairs[0] == ["source", "target"]
    shirt, jacket = "WOMEN-Tees_Tanks-00007838-05", "MEN-Jackets_Vests-00000084-01"
    assert sorted(map(tuple, pairs[1:])) == sorted(
        [
            (f"{shirt}/3back", f"{shirt}/7additional"), (f"{shirt}/7additional", f"{shirt}/3back"),
            (f"{jacket}/2side", f"{jacket}/4full"), (f"{jacket}/4full", f"{jacket}/2side"),
        ]
    )  # fmt: skip
    assert (counts[2].found, counts[2].published) == (4, 101_966)


def test_square_pictures_are_cropped_and_the_square_frame_is_shifted(raw: Path, prepare) -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[:, 40:216] = np.random.default_rng(0).integers(0, 256, (256, 176, 3), np.uint8)
    for path in (*TRAIN, *TEST):
        Image.fromarray(picture).save((raw / "img_highres" / path).with_suffix(".png"))
        (raw / "img_highres" / path).unlink()
    folder = raw / "poses" / "train"
    folder.mkdir(parents=True)
    for path in (*TRAIN, *TEST):
        rows, columns = keypoints(path)
        lines = [f"{column + 40} {row}" for row, column in zip(rows, columns, strict=True)]
        (folder / flat(path)).with_suffix(".txt").write_text("\n".join(lines))
    prepare(fit="crop", annotations=(), poses=raw / "poses", keypoint_frame=(256, 256))
    record = PersonDataset(raw / "set", "train").views("MEN-Jackets_Vests-00000084-01")[1]
    np.testing.assert_array_equal(np.asarray(record.decode()), picture[:, 40:216])
    rows, columns = keypoints(TRAIN[4])
    np.testing.assert_allclose(record.keypoints[:, :2], np.stack([columns, rows], 1))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("fasion-pairs-train.csv", "from,to\n{0},{1}\n{1},{2}\n"),
        ("fashion-resize-pairs-train.csv", ",from,to\n0,{0},{1}\n1,{1},{2}\n"),
        ("train_pairs.txt", "{1},{0}\n{2},{1}\n"),
    ],
)
def test_lists_of_pairs_of_the_field_are_read(raw: Path, prepare, file: str, text: str) -> None:
    (raw / file).write_text(text.format(*(flat(path) for path in TRAIN[:3])))
    _, counts = prepare(pairs=[raw / file])
    shirt = "WOMEN-Tees_Tanks-00007838-05"
    assert rows_of(raw / "set" / "pairs-train.csv")[1:] == [
        [f"{shirt}/7additional", f"{shirt}/1front"],
        [f"{shirt}/1front", f"{shirt}/3back"],
    ]
    assert counts[3].found == 2  # the test split has no list: the rule


def test_what_is_damaged_or_missing_is_listed_and_skipped(raw: Path, prepare) -> None:
    whole = (raw / "img_highres" / TRAIN[0]).read_bytes()
    (raw / "img_highres" / TRAIN[0]).write_bytes(whole[: len(whole) // 2])
    (raw / "img_highres" / TRAIN[2]).unlink()
    Image.new("RGB", (256, 256)).save(raw / "img_highres" / TRAIN[4])
    lines = (raw / "annotation.csv").read_text().splitlines()
    (raw / "annotation.csv").write_text("\n".join(line for line in lines if flat(TRAIN[3]) not in line) + "\n")
    info, _ = prepare()
    assert (info.pictures, info.skipped) == (4, 4)
    problems = {row[0]: row[1] for row in rows_of(raw / "set" / "problems.csv")[1:]}
    assert "listed in train.lst, but there is no such picture" in problems[flat(TRAIN[2])]
    assert "no key points" in problems[TRAIN[3]]
    assert "would be squashed" in problems[TRAIN[4]]
    assert TRAIN[0] in problems and str(raw) not in problems[TRAIN[0]]
    with pytest.raises(ValueError, match="--strict stops at the first"):
        prepare(out=raw / "strict", strict=True)
    assert not (raw / "strict" / "info.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annotations": ()}, "key points are needed"),
        ({"keypoint_frame": (256, 200)}, "key point frame is 256x200"),
        ({"fit": "squash"}, "fit is 'squash'"),
        ({"lists": Path("nowhere")}, "list of the train split not found"),
        ({"pictures": Path("nowhere")}, "folder of pictures not found"),
        ({"pairs": [Path("nowhere.csv")]}, "list of pairs not found"),
    ],
)
def test_bad_input_is_one_line(prepare, options: dict, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(**options)


def test_lists_that_begin_with_a_byte_order_mark_are_read(raw: Path, prepare) -> None:
    (raw / "train.lst").write_text((raw / "train.lst").read_text(), encoding="utf-8-sig")
    (raw / "pairs.csv").write_text(f"from,to\n{flat(TRAIN[0])},{flat(TRAIN[1])}\n", encoding="utf-8-sig")
    info, counts = prepare(pairs=[raw / "pairs.csv"])
    assert info.skipped == 0 and counts[2].found == 1


def test_files_that_do_not_fit_are_refused(raw: Path, prepare) -> None:
    (raw / "pairs.csv").write_text("source,target\n")
    with pytest.raises(ValueError, match="columns from and to"):
        prepare(pairs=[raw / "pairs.csv"])
    (raw / "pairs.csv").write_text(f"from,to\n{flat(TRAIN[0])},{flat(TEST[0])}\n")
    with pytest.raises(ValueError, match="do not stand in one of the two splits"):
        prepare(pairs=[raw / "pairs.csv"])
    (raw / "bad.csv").write_text("name,x,y\n")
    with pytest.raises(ValueError, match="first line must be"):
        prepare(annotations=[raw / "bad.csv"])
    copy = raw / "img_highres" / "copy" / flat(TRAIN[0])
    copy.parent.mkdir()
    Image.new("RGB", (75, 110)).save(copy)
    with pytest.raises(ValueError, match="is there twice"):
        prepare()
    (raw / "test.lst").write_text(flat(TRAIN[0]) + "\n")
    with pytest.raises(ValueError, match="stands in both lists"):
        prepare()
