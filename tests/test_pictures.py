import base64
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagpose.pictures import data_address, encoded_picture, fit_view, load_picture, picture_size
from imagpose.pose import Pose, draw_skeleton


def ramp(height: int = 24, width: int = 32) -> np.ndarray:
    """uint8 (H, W, 3): every pixel differs from its neighbours."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 8 % 256, columns * 7 % 256, (rows + columns) * 3 % 256], 2).astype(np.uint8)


def loaded(source) -> np.ndarray:
    picture = load_picture(source)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_all_kinds_of_input_give_the_same_picture(tmp_path):
    values = ramp()
    Image.fromarray(values).save(tmp_path / "a.png")
    tensor = torch.from_numpy(values).movedim(-1, 0)
    sources = [
        tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(values), values, values / 255.0,
        (values / 255).astype(np.float32), tensor, tensor / 255,
    ]  # fmt: skip
    for source in sources:
        np.testing.assert_array_equal(loaded(source), values)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.gif", "a.tif", "a.ppm", "a.jpg", "a.picture"])
def test_file_formats(tmp_path, name):
    path = tmp_path / name
    Image.new("RGB", (32, 24), (200, 10, 20)).save(path, None if name != "a.picture" else "PNG")
    assert np.abs(loaded(path).astype(int) - [200, 10, 20]).max() <= 12  # JPEG and WebP lose some
    assert loaded(path).shape == (24, 32, 3)


def test_exif_orientation_is_applied(tmp_path):
    values = ramp()
    undo = {1: values, 3: values[::-1, ::-1], 6: np.rot90(values, 1), 8: np.rot90(values, -1), 2: values[:, ::-1]}
    for orientation, stored in undo.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
        np.testing.assert_array_equal(loaded(tmp_path / "a.png"), values, err_msg=str(orientation))


def test_the_size_is_known_from_the_header_alone(tmp_path):
    for name in ("a.png", "a.jpg", "a.webp"):
        for orientation in (1, 6):
            exif = Image.Exif()
            exif[0x0112] = orientation
            Image.fromarray(ramp()).save(tmp_path / name, exif=exif)
            assert picture_size(tmp_path / name) == load_picture(tmp_path / name).size
    (tmp_path / "half.png").write_bytes(damaged(tmp_path, ".png", 0.5))
    assert picture_size(tmp_path / "half.png") == (64, 64)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "one.png").write_bytes(png_header(1, 1))
    for name, message in (("text.png", "text.png: not a picture"), ("one.png", "one.png: 1x1 pixels")):
        with pytest.raises(ValueError, match=message):
            picture_size(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="none.png"):
        picture_size(tmp_path / "none.png")


def test_transparent_places_become_white(tmp_path):
    values = ramp()
    alpha = np.zeros((24, 32, 1), np.uint8)
    alpha[:12], alpha[12:18] = 255, 128
    Image.fromarray(np.concatenate([values, alpha], 2)).save(tmp_path / "a.png")
    weight = alpha / 255.0
    expected = values * weight + 255 * (1 - weight)
    assert np.abs(loaded(tmp_path / "a.png") - expected).max() <= 1
    grey = Image.fromarray(np.concatenate([values[..., :1], alpha], 2)[..., :2].copy(), "LA")
    np.testing.assert_array_equal(loaded(grey)[18:], 255)
    palette = Image.new("P", (32, 24), 1)
    palette.putpalette([9, 9, 9, 200, 10, 20])
    palette.info["transparency"] = 1
    np.testing.assert_array_equal(loaded(palette), 255)


def test_grey_16_bit_palette_and_cmyk(tmp_path):
    grey = ramp()[..., 0]
    expected = np.repeat(grey[..., None], 3, 2)
    np.testing.assert_array_equal(loaded(grey), expected)
    np.testing.assert_array_equal(loaded(grey[..., None] / 255), expected)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded(tmp_path / "a.png"), expected)
    Image.fromarray(np.full((16, 16), 200, np.uint16)).save(tmp_path / "dark.png")
    np.testing.assert_array_equal(loaded(tmp_path / "dark.png"), 1)  # 200 of 65535
    np.testing.assert_array_equal(loaded(Image.fromarray(grey.astype(np.int32))), expected)
    np.testing.assert_array_equal(loaded(Image.fromarray(grey.astype(np.float32))), expected)
    (Image.fromarray(grey.astype(np.float32) / 255)).save(tmp_path / "unit.tif")
    np.testing.assert_array_equal(loaded(tmp_path / "unit.tif"), expected)
    np.testing.assert_array_equal(loaded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)))[0, 0], [255, 0, 0])
    np.testing.assert_array_equal(loaded(Image.new("1", (16, 16), 1)), 255)


def test_a_file_of_floats_that_are_no_numbers_is_named(tmp_path):
    values = np.full((16, 16), 0.5, np.float32)
    values[3, 4] = np.nan
    Image.fromarray(values).save(tmp_path / "hole.tif")
    with pytest.raises(ValueError, match=r"hole\.tif: it holds values that are not finite"):
        load_picture(tmp_path / "hole.tif")


def png_header(width: int, height: int) -> bytes:
    """A PNG file that says its size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [body, b"IDAT"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def damaged(tmp_path, suffix: str, keep: float) -> bytes:
    path = tmp_path / f"whole{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(path)
    content = path.read_bytes()
    return content[: int(len(content) * keep)]


def test_unusable_files_give_one_line_that_names_them(tmp_path):
    cases = {
        "empty.png": (b"", "not a picture"),
        "text.jpg": (b"hello", "not a picture"),
        "program.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "not a picture"),
        "one.png": (png_header(1, 1), "1x1 pixels; sides from 16 to 20,000"),
        "flat.png": (png_header(15, 500), "500x15 pixels"),
        "long.png": (png_header(30_000, 20), "20x30000 pixels"),
        "large.png": (png_header(11_000, 10_000), "at most 100,000,000 pixels"),
        "huge.png": (png_header(30_000, 30_000), "more than 100,000,000 pixels"),
        "half.png": (damaged(tmp_path, ".png", 0.5), "damaged picture"),
        "half.jpg": (damaged(tmp_path, ".jpg", 0.5), "damaged picture"),
        "half.webp": (damaged(tmp_path, ".webp", 0.5), "damaged picture|not a picture"),
        "header.png": (png_header(64, 64), "damaged picture"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as error:
            load_picture(path)
        assert str(error.value).startswith(str(path)), name
        assert "\n" not in str(error.value), name
    with pytest.raises(FileNotFoundError, match="none.png"):
        load_picture(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match=os.path.basename(tmp_path)):
        load_picture(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((24, 32, 5), np.uint8), r"\(24, 32, 5\)"),
        (np.zeros((0, 32, 3)), "0x32 pixels"),
        (np.zeros((24, 32, 3), np.int64), "not int64"),
        (np.full((24, 32, 3), 2.0), r"in \[0, 1\]"),
        (np.full((24, 32, 3), np.nan), r"in \[0, 1\]"),
        (np.zeros((1, 1, 3), np.uint8), "1x1 pixels"),
        (torch.zeros(24, 32, 3), r"\(24, 32, 3\)"),
        (torch.full((3, 24, 32), -1.0), r"in \[0, 1\]"),
        (None, "not NoneType"),
    ],
)
def test_unusable_arrays(source, message):
    with pytest.raises(ValueError, match=message):
        load_picture(source)


def test_views_keep_the_aspect_and_replicate_edges():
    values = ramp(40, 20)
    view = np.asarray(fit_view(Image.fromarray(values), 31, 40))
    np.testing.assert_array_equal(view[:, 5:25], values)
    np.testing.assert_array_equal(view[:, :5], values[:, :1].repeat(5, 1))
    np.testing.assert_array_equal(view[:, 25:], values[:, -1:].repeat(6, 1))
    same = Image.fromarray(values)
    np.testing.assert_array_equal(np.asarray(fit_view(same, 20, 40)), values)
    assert fit_view(Image.new("RGB", (2000, 16)), 96, 128).size == (96, 128)


@pytest.mark.parametrize("frame", [(384, 512), (300, 512), (512, 300)])
def test_pose_follows_its_picture_into_the_view(frame):
    points = np.zeros((18, 3))
    points[[0, 4]] = [[frame[0] * 0.25, frame[1] * 0.3, 1], [frame[0] * 0.7, frame[1] * 0.8, 1]]
    pose = Pose(points, *frame)
    view = np.asarray(fit_view(draw_skeleton(pose), 176, 256), float)
    fitted = pose.fit(176, 256)
    assert (fitted.width, fitted.height) == (176, 256)
    rows, columns = np.mgrid[:256, :176] + 0.5
    weight = view[..., 1]  # the wrist's colour has green, the nose's has none
    middle = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
    np.testing.assert_allclose(middle, fitted.keypoints[4, :2], atol=0.5)
    scale = min(176 / frame[0], 256 / frame[1])
    left, top = (176 - frame[0] * scale) / 2, (256 - frame[1] * scale) / 2
    np.testing.assert_allclose(fitted.keypoints[4, :2], points[4, :2] * scale + [left, top], atol=1)


@pytest.mark.parametrize(
    ("name", "options"), [("PNG", {"optimize": True}), ("JPEG", {"quality": 90, "subsampling": 0})]
)
def test_an_encoded_picture_is_the_file_that_pillow_writes(tmp_path: Path, name: str, options: dict) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    picture.save(tmp_path / "written", name, **options)
    assert encoded_picture(picture, name, **options) == (tmp_path / "written").read_bytes()


@pytest.mark.parametrize(("picture_format", "kind"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_an_address_holds_the_picture(picture_format: str, kind: str) -> None:
    picture = Image.new("RGB", (20, 30), (200, 40, 30))
    start, _, data = data_address(picture, picture_format).partition(",")
    assert start == f"data:{kind};base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as found:
        assert (found.format, found.size) == (picture_format, picture.size)
        np.testing.assert_allclose(np.asarray(found), np.asarray(picture), atol=3)
