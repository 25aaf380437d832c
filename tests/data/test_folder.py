"""`prepare folder` and `prepare people`: what users have on disk, good and bad."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_people import HEIGHT, WIDTH, contents, small_picture, small_pose, write_tree

from imagpose.data.dataset import PersonDataset
from imagpose.data.folder import prepare_folder
from imagpose.data.rendered import prepare_people
from imagpose.people.render_set import render_set
from imagpose.pictures import load_picture
from imagpose.pose import Pose, to_openpose, write_openpose_json, write_txt


def problems_of(folder: Path) -> dict[str, str]:
    """The problem of each file; those that were not skipped begin with "note: "."""
    with (folder / "problems.csv").open(newline="") as file:
        return {
            row["file"]: ("" if row["skipped"] == "yes" else "note: ") + row["problem"] for row in csv.DictReader(file)
        }


def test_pictures_poses_and_masks_by_name(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", {"anna": 2, "ben": 1})
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (0, 0, 5, HEIGHT))
    mask.save(root / "anna" / "1_mask.png")
    (root / "anna" / "1.json").unlink()
    write_txt(small_pose(5), root / "anna" / "1.txt")
    small_picture(9).save(root / "ben" / "b.JPG", format="JPEG")
    write_openpose_json(small_pose(9), root / "ben" / "b.json")
    small_picture(8).save(root / "ben" / "c.webp", lossless=True)
    write_openpose_json(small_pose(8), root / "ben" / "c.json")
    info = prepare_folder(root, tmp_path / "set", workers=1)
    assert (info.pictures, info.identities, info.skipped) == (5, 2, 0)
    data = PersonDataset(tmp_path / "set", "train")
    assert data.identities == ["anna", "ben"]
    first, second = data.views("anna")
    assert (first.view, first.source_file, first.mask) == ("0", "anna/0.png", None)
    assert np.array_equal(np.asarray(first.decode()), np.asarray(small_picture(sum(b"anna") * 100)))
    assert np.allclose(first.keypoints, small_pose(sum(b"anna") * 100).keypoints, atol=1e-3)
    assert np.allclose(second.keypoints, small_pose(5).keypoints, atol=0.01)
    foreground = second.foreground()
    assert foreground is not None and foreground[:, :5].all() and not foreground[:, 5:].any()
    assert first.picture == (root / "anna" / "0.png").read_bytes()
    _, jpeg, webp = data.views("ben")
    assert jpeg.picture == (root / "ben" / "b.JPG").read_bytes()  # as it is
    assert webp.picture.startswith(b"\x89PNG")
    assert np.array_equal(np.asarray(webp.decode()), np.asarray(small_picture(8)))


def test_what_cannot_be_stored_is_listed_and_skipped(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", {"anna": 3, "ben": 9, "carl": 1})
    anna, ben = root / "anna", root / "ben"
    (anna / "0.png").write_bytes((anna / "0.png").read_bytes()[:200])
    (anna / "1.json").unlink()
    (anna / "inner").mkdir()
    small_picture(1).save(anna / "inner" / "x.png")
    (ben / "0.json").write_text("{")
    (ben / "1.json").write_text('{"people": []}')
    write_openpose_json(Pose(small_pose(2).keypoints, 40, 40), ben / "2.json")
    Image.new("L", (5, 5)).save(ben / "3_mask.png")  # too small
    Image.new("L", (WIDTH + 1, HEIGHT)).save(ben / "4_mask.png")
    small_picture(5).save(ben / "5.bmp")
    (ben / "6.png").write_text("no picture")
    (ben / "photo.heic").write_bytes(b"heic")
    small_picture(1).save(ben / "lonely_mask.png")
    two = to_openpose(small_pose(7))
    two["people"].append(to_openpose(Pose(small_pose(7).keypoints * [0.3, 0.3, 1], WIDTH, HEIGHT))["people"][0])
    (ben / "7.json").write_text(str(two).replace("'", '"'))
    small_picture(1).save(root / "loose.png")
    (root / ".hidden").mkdir()
    (ben / "._8.png").write_bytes(b"of another system")
    (root / "notes").mkdir()
    info = prepare_folder(root, tmp_path / "set", workers=1)
    found = problems_of(tmp_path / "set")
    expected = {
        "loose.png": "outside of the folders of identities",
        "anna/inner": "a folder inside of an identity's folder",
        "ben/5.png": "another picture of this identity has the same name",
        "ben/photo.heic": "format not read",
        "anna/0.png": "damaged picture",
        "anna/1.png": "no pose: a file of the same name with .json",
        "ben/0.png": "ben/0.json: not valid JSON",
        "ben/1.png": "ben/1.json: no people",
        "ben/2.png": "the pose is in a frame of 40x40, the picture has 40x24",
        "ben/3.png": "ben/3_mask.png: 5x5 pixels",
        "ben/4.png": "the mask has 40x25 pixels, the picture 40x24",
        "ben/6.png": "not a picture that can be read",
        "ben/7.png": "note: ben/7.json: 2 people; person 1 is taken",
        "ben/lonely_mask.png": "no pose",
    }
    assert set(found) == set(expected)
    for file, words in expected.items():
        assert words in found[file], (file, found[file])
        assert str(tmp_path) not in found[file]
    assert (info.pictures, info.skipped) == (5, 13)
    stored = PersonDataset(tmp_path / "set")
    assert {name: [view.source_file for view in stored.views(name)] for name in stored.identities} == {
        "anna": ["anna/2.png"],
        "ben": ["ben/5.bmp", "ben/7.png", "ben/8.png"],
        "carl": ["carl/0.png"],
    }


def test_strict_stops_at_the_first(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", {"anna": 2})
    (root / "anna" / "1.json").unlink()
    with pytest.raises(ValueError, match=r"^anna/1.png: no pose: .* \(--strict"):
        prepare_folder(root, tmp_path / "set", strict=True, workers=1)
    assert not (tmp_path / "set" / "info.json").exists()


def test_a_pose_for_a_larger_picture_of_the_same_shape_is_scaled(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", {"anna": 1})
    large = small_pose(3).resize(3 * WIDTH, 3 * HEIGHT)
    write_openpose_json(large, root / "anna" / "0.json")
    prepare_folder(root, tmp_path / "set", workers=1)
    (view,) = PersonDataset(tmp_path / "set").views("anna")
    assert np.allclose(view.keypoints, small_pose(3).keypoints, atol=1e-3)


def test_a_turned_photo_is_stored_upright(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", {"anna": 1})
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    photo = root / "anna" / "photo.jpg"
    small_picture(4, width=HEIGHT, height=WIDTH).save(photo, exif=exif)
    write_openpose_json(small_pose(4), root / "anna" / "photo.json")
    prepare_folder(root, tmp_path / "set", workers=1)
    view = PersonDataset(tmp_path / "set").views("anna")[1]
    assert (view.width, view.height) == (WIDTH, HEIGHT)
    assert np.array_equal(np.asarray(view.decode()), np.asarray(load_picture(photo)))


def test_views_are_brought_to_a_size(tmp_path: Path) -> None:
    """24 x 40 into 40 x 40: 8 columns of edge on either side."""
    root = write_tree(tmp_path / "raw", {"a": 1})
    prepare_folder(root, tmp_path / "set", size=(40, 40), workers=1)
    (view,) = PersonDataset(tmp_path / "set").views("a")
    number = sum(b"a") * 100
    assert np.array_equal(np.asarray(view.decode())[:, 8:32], np.asarray(small_picture(number)))
    found = small_pose(number).keypoints[:, 2] > 0
    expected = small_pose(number).keypoints[found] + np.array([8, 0, 0])
    assert np.allclose(view.keypoints[found], expected, atol=1e-3)


def test_the_split_of_an_identity_depends_on_its_name(tmp_path: Path) -> None:
    def split(names: range, fraction: float, out: str) -> set[str]:
        root = tmp_path / f"raw {out}"
        write_tree(root, {f"person {number}": 1 for number in names})
        prepare_folder(root, tmp_path / out, test_fraction=fraction, workers=1)
        data = PersonDataset(tmp_path / out)
        in_test = set(PersonDataset(tmp_path / out, "test").identities)
        in_train = set(PersonDataset(tmp_path / out, "train").identities)
        assert in_test | in_train == set(data.identities) and not in_test & in_train
        return in_test

    some = split(range(60), 0.25, "some")
    assert 6 <= len(some) <= 25
    assert {name for name in split(range(30, 90), 0.25, "others") if int(name.split()[1]) < 60} == {
        name for name in some if int(name.split()[1]) >= 30
    }
    assert some < split(range(60), 0.5, "more")


def test_what_the_people_command_writes_is_such_a_folder(tmp_path: Path) -> None:
    """And holds what `prepare people` renders straight into the format."""
    seed = 2_000_004
    render_set(seed, 1, 2, 64, 48, tmp_path / "raw", workers=1)
    info = prepare_folder(tmp_path / "raw", tmp_path / "folder", workers=1)
    straight = prepare_people(seed, 1, 2, 64, 48, tmp_path / "straight", workers=1)
    assert (info.pictures, info.skipped) == (straight.pictures, straight.skipped) == (2, 0)
    assert list(straight.splits) == ["test"]
    one, other = (PersonDataset(tmp_path / name).views(str(seed)) for name in ("folder", "straight"))
    for written, rendered in zip(one, other, strict=True):
        assert written.view == rendered.view
        assert np.array_equal(np.asarray(written.decode()), np.asarray(rendered.decode()))
        assert np.array_equal(written.foreground(), rendered.foreground())
        found = rendered.keypoints[:, 2] > 0
        assert np.allclose(written.keypoints[found], rendered.keypoints[found], atol=1e-3)


def test_people_of_several_splits(tmp_path: Path) -> None:
    info = prepare_people(999_999, 2, 1, 32, 24, tmp_path, workers=1)
    assert {name: split.identities for name, split in info.splits.items()} == {"train": 1, "validation": 1}
    with pytest.raises(ValueError, match="views 1, not 2"):
        prepare_people(999_999, 2, 2, 32, 24, tmp_path, workers=1)
    assert PersonDataset(tmp_path, "validation").identities == ["1000000"]


def test_people_to_train_on_and_people_to_measure_on_in_one_data_set(tmp_path: Path) -> None:
    info = prepare_people(5, 2, 1, 32, 24, tmp_path / "set", test_people=1, workers=1)
    assert {name: split.identities for name, split in info.splits.items()} == {"train": 2, "test": 1}
    assert PersonDataset(tmp_path / "set", "test").identities == ["2000000"]
    with pytest.raises(ValueError, match="of the test split itself"):
        prepare_people(2_000_000, 1, 1, 32, 24, tmp_path / "other", test_people=1, workers=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (8, 40)}, "size is 8x40"),
        ({"test_fraction": 1.0}, "test fraction is 1.0"),
        ({"out": "raw/set"}, "lies inside of the pictures' folder"),
        ({"pictures": "empty"}, "no folder with pictures in it"),
        ({"pictures": "absent"}, "folder of pictures not found"),
    ],
)
def test_wrong_requests_leave_nothing(tmp_path: Path, options: dict, words: str) -> None:
    write_tree(tmp_path / "raw", {"anna": 1})
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    values = {"pictures": "raw", "out": "set"} | options
    pictures, out = tmp_path / values.pop("pictures"), tmp_path / values.pop("out")
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        prepare_folder(pictures, out, workers=1, **values)
    assert contents(tmp_path) == before and not out.exists()


@pytest.mark.parametrize("wrong", [{"first_seed": -1}, {"count": 0}, {"views": 0}, {"height": 4}, {"test_people": -1}])
def test_wrong_numbers_of_people(tmp_path: Path, wrong: dict[str, int]) -> None:
    numbers = {"first_seed": 0, "count": 1, "views": 1, "height": 32, "width": 24} | wrong
    with pytest.raises(ValueError):
        prepare_people(out=tmp_path / "set", **numbers)
    assert not (tmp_path / "set").exists()
