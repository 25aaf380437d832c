"""Marks in the pixels, by the library's own decoder and by what stays as it was; and where they are put on."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from imagpose.io import json_digest
from imagpose.pixel_marks import has_watermark, mark_pixels
from imagpose.pose.library import library
from imagpose.provenance import Origin, read_marks, save_generated
from imagpose.serving.animate import animate
from imagpose.serving.demo import PEOPLE_FOLDER
from imagpose.serving.generate import generate
from imagpose.serving.settings import AnimateSettings, GenerateSettings
from tiny_pipeline import build_pipeline, picture, pipeline, pose, seeded

__all__ = ["build_pipeline", "picture", "pipeline", "pose", "seeded"]


@pytest.fixture
def person() -> Image.Image:
    return Image.open(PEOPLE_FOLDER / "2000006" / "0.png").convert("RGB")


def changed_box(one: Image.Image, other: Image.Image) -> tuple[int, int, int, int] | None:
    return ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox()


def test_a_visible_mark_is_a_line_in_the_lower_right_corner(person):
    marked = mark_pixels(person, "visible")
    left, top, right, bottom = changed_box(person, marked)
    assert (right, bottom) == person.size and left > 60 and top > person.height - 24
    inside = np.asarray(marked)[top:bottom, left:right]
    assert inside.max() == 255 and inside.min() <= 40  # it can be read on any ground
    assert mark_pixels(person, "visible").tobytes() == marked.tobytes()
    assert mark_pixels(person, "none") is person
    clear = person.copy()
    clear.putalpha(0)
    alpha = np.asarray(mark_pixels(clear, "visible"))[..., 3]
    assert alpha[:top].max() == 0 and alpha[top + 2 :, left:].min() == 255
    tiny = mark_pixels(person.resize((20, 200)), "visible")
    assert tiny.size == (20, 200)


def test_the_librarys_own_decoder_finds_the_invisible_mark(person):
    imwatermark = pytest.importorskip("imwatermark", reason="needs the extra watermark")
    large = person.resize((352, 512))
    marked = mark_pixels(large, "invisible")
    decoder = imwatermark.WatermarkDecoder("bytes", 32)
    assert decoder.decode(np.asarray(marked)[..., ::-1].copy(), "dwtDctSvd") == b"IMGP"
    assert decoder.decode(np.asarray(large)[..., ::-1].copy(), "dwtDctSvd") != b"IMGP"
    difference = np.asarray(marked, float) - np.asarray(large, float)
    assert 0 < np.abs(difference).mean() < 4


@pytest.mark.parametrize("size", [(176, 256), (64, 128), (353, 511)])
def test_a_watermark_is_found_after_a_jpeg_and_not_where_there_is_none(person, size):
    pytest.importorskip("imwatermark", reason="needs the extra watermark")
    plain = person.resize(size)
    marked = mark_pixels(plain, "both")
    file = io.BytesIO()
    marked.save(file, "JPEG", quality=90, subsampling=0)
    assert has_watermark(marked) and has_watermark(Image.open(file))
    assert not has_watermark(plain) and not has_watermark(mark_pixels(plain, "visible"))
    assert not has_watermark(Image.new("RGB", size, "grey")) and not has_watermark(Image.new("RGB", (9, 9)))
    noise = np.random.default_rng(0).integers(0, 256, (256, 176, 3), np.uint8)
    assert not has_watermark(Image.fromarray(noise))
    clear = plain.copy()
    clear.putalpha(100)
    hidden = mark_pixels(clear, "invisible")
    assert has_watermark(hidden) and set(hidden.getchannel("A").get_flattened_data()) == {100}


def test_check_finds_a_watermark_in_a_file_without_any_other_mark(person, tmp_path, run):
    pytest.importorskip("imwatermark", reason="needs the extra watermark")
    bare, plain = tmp_path / "bare.png", tmp_path / "plain.png"
    mark_pixels(person, "invisible").save(bare)
    person.copy().save(plain)
    assert not read_marks(bare).generated and read_marks(bare).watermark is None
    assert read_marks(bare, pixels=True).generated and not read_marks(plain, pixels=True).generated
    found = run("check", bare, "--pixels")
    assert found.code == 0 and "marked as generated; watermark: True" in found.out
    assert run("check", plain, "--pixels").code == 1 and run("check", bare).code == 1


def test_marks_that_cannot_be_put_on_are_refused_before_anything_is_drawn(person, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="mark 'loud': one of none, visible, invisible, both expected"):
        GenerateSettings(mark="loud")
    monkeypatch.setattr("imagpose.pixel_marks.find_spec", lambda name: None)
    for settings in (GenerateSettings, AnimateSettings):
        with pytest.raises(ValueError, match=r"pip install 'imagpose\[watermark\]'"):
            settings.of({"mark": "invisible"})
    save_generated(person, tmp_path / "a.png", Origin("mini", 7))
    with pytest.raises(ValueError, match="watermark"):
        read_marks(tmp_path / "a.png", pixels=True)
    monkeypatch.undo()
    if not has_library():
        return
    with pytest.raises(ValueError, match="64x32 is too small for an invisible mark"):
        GenerateSettings(mark="both", size=(64, 32))
    with pytest.raises(ValueError, match="100x70 is too small"):
        mark_pixels(person.resize((70, 100)), "invisible")


def has_library() -> bool:
    from importlib.util import find_spec

    return find_spec("imwatermark") is not None


def test_generate_and_save_put_the_mark_on_their_pictures_alone(pipeline, picture, pose, tmp_path, seeded):
    source, target = picture(0), pose(1)
    asked = {"model": pipeline, "steps": 1, "seed": 3, "size": (128, 64), "crop": False}
    plain = generate(source, target, **asked)
    marked = generate(source, target, out=tmp_path / "out", mark="visible", **asked)
    assert marked.images[0].tobytes() == mark_pixels(plain.images[0], "visible").tobytes()
    with Image.open(tmp_path / "out" / "pose.png") as written:
        assert written.tobytes() == marked.images[0].tobytes()
    assert marked.record["settings"]["mark"] == "visible" and "mark" not in plain.record["settings"]
    assert marked.record["outputs"][0]["scores"] == plain.record["outputs"][0]["scores"]
    assert marked.record["request"] != plain.record["request"]
    before = {"anchor": False, "background": "keep", "crop": True}
    assert {**GenerateSettings().record()}.items() >= before.items() and "mark" not in GenerateSettings().record()
    assert json_digest(GenerateSettings().record()) == json_digest(GenerateSettings(mark="none").record())
    out = pipeline(sources=source, target_poses=[target], num_inference_steps=1, generator=seeded(1))
    (file,) = out.save(tmp_path / "x.png", mark="visible")
    with Image.open(file) as written:
        assert written.tobytes() == mark_pixels(out.images[0], "visible").tobytes() != out.images[0].tobytes()


def test_a_film_is_marked_and_the_frames_it_is_drawn_from_are_not(pipeline, picture, tmp_path):
    poses = [library()[f"walk-0{number}"].pose for number in (1, 2)]
    asked = {"model": pipeline, "steps": 1, "size": (128, 64)}
    folder, film, plain = tmp_path / "frames", tmp_path / "film.gif", tmp_path / "plain.gif"
    with pytest.raises(ValueError, match="a mark is put on a film"):
        animate(picture(0), poses, out=folder, mark="visible", **asked)
    assert not folder.exists()
    animate(picture(0), poses, out=film, fps=5, mark="visible", **asked)
    animate(picture(0), poses, out=plain, fps=5, **asked)
    for number in range(2):
        bare = frame(plain, number)
        left, top, right, bottom = changed_box(bare, mark_pixels(bare, "visible"))
        expected, found = (np.asarray(own, float) for own in (mark_pixels(bare, "visible"), frame(film, number)))
        assert np.abs(found - expected).mean() < 6  # a GIF has 256 colours
        assert np.abs(found - np.asarray(bare, float))[top:bottom, left:right].mean() > 30
    shutil.copy(film, tmp_path / "again.gif")
    assert read_marks(tmp_path / "again.gif").generated


def frame(film: Path, number: int) -> Image.Image:
    with Image.open(film) as opened:
        opened.seek(number)
        return opened.convert("RGB")
