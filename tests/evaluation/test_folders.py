"""Which pictures are compared, and what is refused."""

import re

import numpy as np
import pytest
from PIL import Image

from imagpose.evaluation.folders import check_sizes, find_pairs, list_pictures


def fill(folder, *names, size=(24, 20)):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (len(name), 90, 60)).save(path)
    return folder


@pytest.fixture
def reference(tmp_path):
    return fill(tmp_path / "reference", "b.png", "a.png", "more/c.d.png")


def test_pairs_have_one_name_whatever_the_ending(reference, tmp_path):
    generated = fill(tmp_path / "generated", "a.jpg", "b.PNG", "more/c.d.webp", ".hidden.png")
    (generated / "notes.txt").write_text("no picture")
    (generated / "._a.png").write_text("left behind by another system")
    masks = fill(tmp_path / "masks", "b.png", "unused.png")
    pairs = find_pairs(generated, reference, masks)
    assert [pair.name for pair in pairs] == ["a", "b", "more/c.d"]
    assert [pair.samples for pair in pairs] == [
        (generated / "a.jpg",), (generated / "b.PNG",), (generated / "more/c.d.webp",)
    ]  # fmt: skip
    assert [pair.reference.name for pair in pairs] == ["a.png", "b.png", "c.d.png"]
    assert [pair.mask for pair in pairs] == [None, masks / "b.png", None]


def test_numbered_pictures_are_samples_in_the_order_of_their_numbers(tmp_path):
    numbers = range(11)
    reference = fill(tmp_path / "reference", "a.png", "id_7.png")
    generated = fill(tmp_path / "generated", *(f"{name}_{number}.png" for name in ("a", "id_7") for number in numbers))
    for pair, name in zip(find_pairs(generated, reference), ("a", "id_7"), strict=True):
        assert [path.name for path in pair.samples] == [f"{name}_{number}.png" for number in numbers]


def test_an_equal_name_comes_before_a_number(tmp_path):
    names = ["a_0.png", "a_1.png"]
    pairs = find_pairs(fill(tmp_path / "generated", *names), fill(tmp_path / "reference", *names))
    assert [[path.name for path in pair.samples] for pair in pairs] == [["a_0.png"], ["a_1.png"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png", "b.png"], "references without a generated picture: 1 (more/c.d), generated pictures without a"
                             " reference: none"),
        (["a.png", "b.png", "more/c.d.png", "x.png", "y.png", "z_0.png", "z_1.png"],
         "without a generated picture: none, generated pictures without a reference: 4 (x, y, z_0, ...)"),
        (["a.png", "b.png", "more/c.png"], "1 (more/c.d), generated pictures without a reference: 1 (more/c)"),
        (["a.png", "a.jpg", "b.png", "more/c.d.png"], "/generated/a.jpg and a.png)"),
        (["a_0.png", "a_1.png", "b_0.png", "b_1.png", "more/c.d_0.png"],
         "references without all of the samples _0 to _1 that others have: 1 (more/c.d)"),
        (["a_0.png", "a_2.png", "b_0.png", "b_1.png", "more/c.d_0.png", "more/c.d_1.png"], "have: 1 (a)"),
        (["a_0.png", "a_00.png", "b.png", "more/c.d.png"], "samples that are there twice: 1 (a_00)"),
        (["a.png", "a_1.png", "b.png", "more/c.d.png"], "samples that are there twice: 1 (a_1)"),
    ],
)  # fmt: skip
def test_folders_that_do_not_match(reference, tmp_path, names, message):
    generated = fill(tmp_path / "generated", *names)
    with pytest.raises(ValueError, match=re.escape(message)):
        find_pairs(generated, reference)


def test_folders_that_are_not_there_or_empty(reference, tmp_path):
    with pytest.raises(FileNotFoundError, match="generated pictures not found: .*nowhere"):
        find_pairs(tmp_path / "nowhere", reference)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "a.txt").write_text("")
    with pytest.raises(ValueError, match="train pictures .*empty holds no picture"):
        list_pictures(empty, "train")
    with pytest.raises(ValueError, match=r"no mask in .* has the name of a reference: 1 \(z\)"):
        find_pairs(reference, reference, fill(tmp_path / "masks", "z.png"))


def test_every_file_that_cannot_be_read_is_counted(reference, tmp_path):
    generated = fill(tmp_path / "generated", "a.png")
    (generated / "more").mkdir()
    (generated / "b.png").write_bytes(b"")
    (generated / "more/c.d.png").write_text("text")
    Image.new("RGB", (1, 1)).save(reference / "b.png")
    with pytest.raises(ValueError) as error:
        check_sizes(find_pairs(generated, reference), resizing=True)
    text = str(error.value)
    assert text.startswith("pictures that cannot be read: 3 (") and "\n" not in text
    assert f"{reference / 'b.png'}: 1x1 pixels" in text and f"{generated / 'b.png'}: not a picture" in text


def test_other_sizes_are_refused_unless_they_may_be_resized(reference, tmp_path):
    generated = fill(tmp_path / "generated", "a.png", "b.png")
    fill(generated, "more/c.d.png", size=(24, 30))
    pairs = find_pairs(generated, reference)
    with pytest.raises(ValueError, match=r"1 \(.*c\.d\.png: 24x30 \(width x height\), not 24x20\).*--protocol field"):
        check_sizes(pairs, resizing=False)
    assert check_sizes(pairs, resizing=True) == {(24, 20)}
    masks = fill(tmp_path / "masks", "a.png", size=(20, 24))
    with pytest.raises(ValueError, match=r"masks of another size than their references: 1 \(.*20x24"):
        check_sizes(find_pairs(generated, reference, masks), resizing=True)


def test_a_turned_picture_has_the_size_that_is_compared(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = tmp_path / "turned"
    folder.mkdir()
    Image.fromarray(np.zeros((24, 20, 3), np.uint8)).save(folder / "a.jpg", exif=exif)
    assert check_sizes(find_pairs(folder, fill(tmp_path / "reference", "a.png")), resizing=False) == {(24, 20)}
