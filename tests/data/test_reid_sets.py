"""Sets in Market-1501's layout: names as the field's loaders read them, subsets, rendered people."""

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imagpose.data.market1501 import MarketName
from imagpose.data.reid import FOLDERS, ReidPicture, generated_names, list_pictures, market_name, subset
from imagpose.data.reid_layout import LaidOut, lay_out
from imagpose.data.reid_people import ANNOTATIONS, render_reid_people
from imagpose.pictures import load_picture
from imagpose.pose import read_annotation_csv


def make(root, names, part="train"):
    folder = root / FOLDERS[part]
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (8, 16)).save(folder / name, "JPEG")


def test_names_say_who_and_where_and_junk_is_left_out(tmp_path):
    make(
        tmp_path,
        ["0002_c1s1_000451_03.jpg", "-1_c3s2_000451_03.jpg", "0000_c6s2_1_03.jpg", "1502_c12s1_000451_03.jpg.jpg"],
    )
    (tmp_path / FOLDERS["train"] / "._0002_c1s1_000451_03.jpg").write_bytes(b"")
    (tmp_path / FOLDERS["train"] / "Thumbs.db").write_bytes(b"")
    found = [(own.identity, own.camera) for own in list_pictures(tmp_path, "train")]
    assert found == [(0, 6), (2, 1), (1502, 12)]
    with pytest.raises(FileNotFoundError, match="query"):
        list_pictures(tmp_path, "query")
    make(tmp_path, ["somebody.jpg"], "query")
    with pytest.raises(ValueError, match=r"somebody\.jpg: a name such as 0002_c1s1"):
        list_pictures(tmp_path, "query")


def test_a_name_is_read_by_the_loaders_of_the_field():
    name = market_name(2, 3, 900_007, sequence=2)
    # fast-reid and torchreid, data_manager of Market-1501: pattern = re.compile(r"([-\d]+)_c(\d)")
    identity, camera = map(int, re.compile(r"([-\d]+)_c(\d)").search(name).groups())
    assert (identity, camera) == (2, 3) and 0 <= identity <= 1501 and 1 <= camera <= 6
    assert MarketName(name).person == "0002"
    for wrong in ({"camera": 0}, {"frame": 1_000_000}, {"sequence": 7}, {"identity": -1}):
        with pytest.raises(ValueError, match="cannot hold"):
            market_name(**{"identity": 1, "camera": 1, "frame": 1, **wrong})


def test_subsets_have_the_published_sizes_hold_everybody_and_lie_in_one_another():
    rng = np.random.default_rng(0)
    people = np.sort(np.concatenate([np.arange(751), rng.integers(0, 751, 12_936 - 751)]))
    pictures = [ReidPicture(None, int(own), 1) for own in people]
    sizes, before = [], set()
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        chosen = subset(pictures, share, seed=1)
        assert {own.identity for own in chosen} == set(range(751))
        found = set(map(id, chosen))
        assert before <= found
        sizes.append(len(chosen))
        before = found
    assert sizes == [2_587, 5_174, 7_761, 10_348, 12_936]
    one, other = subset(pictures, 0.2, 1), subset(pictures, 0.2, 2)
    assert list(map(id, one)) == list(map(id, subset(pictures, 0.2, 1))) != list(map(id, other))
    assert len(subset(pictures, 0.001, 0)) == 751
    with pytest.raises(ValueError, match="share is 0"):
        subset(pictures, 0, 0)


def test_the_manifest_names_what_is_generated(tmp_path):
    assert generated_names(tmp_path) == set()
    (tmp_path / "manifest.csv").write_text("file,seed\na.jpg,1\nb.jpg,2\n")
    assert generated_names(tmp_path) == {"a.jpg", "b.jpg"}
    (tmp_path / "manifest.csv").write_text("file\na.jpg\n", encoding="utf-8-sig")  # as spreadsheets save it
    assert generated_names(tmp_path) == {"a.jpg"}
    (tmp_path / "manifest.csv").write_text("name\na.jpg\n")
    with pytest.raises(ValueError, match="'file'"):
        generated_names(tmp_path)


def test_rendered_people_share_the_grounds_of_their_cameras(tmp_path):
    out = tmp_path / "set"
    assert render_reid_people(out, train=2, test=2, views=2, workers=1) == 4 * 4 * 2
    train, query, gallery = (list_pictures(out, part) for part in FOLDERS)
    assert [len(train), len(query), len(gallery)] == [16, 8, 8]
    assert not {own.identity for own in train} & {own.identity for own in gallery}
    assert {(own.identity, own.camera) for own in query} == {(n, c) for n in (3, 4) for c in (1, 2, 3, 4)}
    for part, own in zip(FOLDERS, (train, query, gallery), strict=True):
        assert {picture.file.name for picture in own} == set(read_annotation_csv(out / ANNOTATIONS[part], (64, 128)))
    corners = {}
    for own in train:
        picture = np.asarray(load_picture(own.file))
        assert picture.shape == (128, 64, 3)
        corners.setdefault(own.camera, []).append(picture[:8, :8].reshape(-1, 3).mean(0))
    within = max(np.ptp(np.array(own), axis=0).max() for own in corners.values())
    between = min(
        np.abs(np.mean(one, 0) - np.mean(other, 0)).max()
        for c, one in corners.items()
        for d, other in corners.items()
        if c < d
    )
    assert within < between, (within, between)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        # MSMT17: a folder per person, morning and afternoon; CUHK03-NP: PNG files; somebody's own.
        (
            r"^\d+/(\d+)_\d+_(\d+)_",
            ["0000/0000_000_01_0303morning_0015_0_ex.jpg", "0000/0000_001_12_0303noon_0015_0_ex.jpg"],
        ),
        (r"(\d+)_c(\d)", ["0014_c1_3.png", "0014_c2_7.png"]),
        (r"(?P<camera>door|yard)-(?P<identity>[a-z]+)", ["door-ann-7.bmp", "yard-ann-8.bmp"]),
    ],
    ids=["msmt17", "cuhk03-np", "own"],
)
def test_other_sets_are_laid_out_alike(tmp_path, pattern, names):
    for part in ("train", "query", "gallery"):
        for number, name in enumerate(names):
            path = tmp_path / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 32), (90 * number, 0, 0)).save(path)
    found = lay_out(pattern, *(tmp_path / part for part in ("train", "query", "gallery")), tmp_path / "set")
    assert (found.pictures, found.identities, found.cameras) == ({"train": 2, "query": 2, "gallery": 2}, 2, 2)
    train, query, gallery = (list_pictures(tmp_path / "set", part) for part in FOLDERS)
    assert {own.identity for own in train} == {1}  # also where the test people bear the same names: they are others
    assert (
        {(own.identity, own.camera) for own in query}
        == {(own.identity, own.camera) for own in gallery}
        == {(2, 1), (2, 2)}
    )
    rows = (tmp_path / "set" / "names.csv").read_text().splitlines()
    assert len(rows) == 7 and [row.partition(",")[2] for row in rows[1:]] == 3 * names
    for own in train:
        assert np.asarray(load_picture(own.file))[0, 0, 0] == pytest.approx(90 * (own.camera - 1), abs=3)


def test_a_picture_that_claims_too_many_pixels_is_refused_by_name(tmp_path):
    (tmp_path / "0001_c1.png").write_bytes(png_of_size(20_000, 15_000))
    with pytest.raises(ValueError, match=r"0001_c1\.png: more than 100,000,000 pixels"):
        lay_out(r"(\d+)_c(\d)", tmp_path, tmp_path, tmp_path, tmp_path.with_name("set"))


def png_of_size(width, height):
    """A PNG file of these sides without pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT", b"IEND")
    framed = (struct.pack(">I", len(own) - 4) + own + struct.pack(">I", zlib.crc32(own)) for own in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_patterns_that_say_too_little_are_refused(tmp_path):
    make(tmp_path, ["a.jpg"])
    folder = tmp_path / FOLDERS["train"]
    for pattern, said in (
        ("(", "no regular expression"),
        (r"(\d)", "two groups"),
        (r"(?P<camera>a)(.)", "two groups"),
        (r"(\d)_(\d)", "does not fit a.jpg"),
        (r"(a)(\d)?", "does not fit a.jpg"),
    ):
        with pytest.raises(ValueError, match=said):
            lay_out(pattern, folder, folder, folder, tmp_path / "set")
    large = LaidOut({"train": 1}, 1502, 15)
    assert len(large.lines()) == 2 and len(LaidOut({"train": 1}, 1501, 6).lines()) == 1
