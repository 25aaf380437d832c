"""Photos of many requests: decoded once, and never another's."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from imagpose.serving import photos as module
from imagpose.serving.photos import Photos


def write(path, value, size=(32, 20)):
    Image.new("RGB", size, (value, 7, 9)).save(path)
    return path


def value_of(given):
    picture, digest = given
    return np.asarray(picture)[0, 0, 0], digest


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded."""
    names, load = [], module.load_picture
    monkeypatch.setattr(module, "load_picture", lambda path, *data: names.append(path.name) or load(path, *data))
    return names


def test_a_photo_is_decoded_once_wherever_it_lies_and_anew_when_it_changes(tmp_path, decoded):
    photos = Photos()
    first, copy = write(tmp_path / "a.png", 1), write(tmp_path / "copy.png", 1)
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    assert [value_of(photos.read(own)) for own in (first, str(first), copy)] == [(1, digest)] * 3
    assert decoded == ["a.png"]
    write(first, 2)
    assert value_of(photos.read(first)) == (2, hashlib.sha256(first.read_bytes()).hexdigest())
    assert value_of(photos.read(copy)) == (1, digest) and decoded == ["a.png", "a.png"]


def test_the_photos_that_were_read_last_are_kept(tmp_path, decoded):
    photos = Photos(pixels=2 * 32 * 20)
    a, b, c = (write(tmp_path / f"{name}.png", number) for number, name in enumerate("abc"))
    for file in (a, b, a, c, a, c, b):
        photos.read(file)
    assert decoded == ["a.png", "b.png", "c.png", "b.png"]
    large = write(tmp_path / "large.png", 9, (64, 64))
    assert [value_of(photos.read(large))[0] for _ in range(2)] == [9, 9]
    assert decoded[4:] == ["large.png"]  # alone it is kept, however large
    photos.read(a)
    photos.read(c)
    photos.read(a)
    assert decoded[5:] == ["a.png", "c.png"]


def test_what_is_no_picture_is_not_read_as_a_whole(tmp_path):
    file = tmp_path / "film.mp4"
    with file.open("wb") as film:
        film.truncate(2**40)
    with pytest.raises(ValueError, match="film.mp4: not a picture"):
        Photos().read(file)
    with pytest.raises(FileNotFoundError, match="picture not found"):
        Photos().read(tmp_path / "gone.png")


def test_a_picture_that_is_no_file_is_known_by_its_pixels():
    picture = Image.new("RGB", (32, 20), (5, 6, 7))
    assert Photos().read(np.asarray(picture))[1] == hashlib.sha256(bytes([5, 6, 7]) * 640).hexdigest()
