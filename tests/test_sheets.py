"""Sheets of pictures."""

import numpy as np
import pytest
from PIL import Image

from imagpose.sheets import (
    CAPTION_HEIGHT,
    GAP,
    LABEL_HEIGHT,
    WIDTH,
    Block,
    Cell,
    SheetSection,
    draw_blocks,
    draw_sheet,
)

RED, BLUE = Image.new("RGB", (64, 128), "red"), Image.new("RGB", (30, 20), "blue")


def test_every_picture_stands_in_its_place():
    sheet = draw_sheet(
        [
            SheetSection("first", [Cell([RED], "a"), Cell([RED])]),
            SheetSection("none", []),
            SheetSection("second", [Cell([BLUE, RED])]),
        ]
    )
    middle = LABEL_HEIGHT + 128
    assert sheet.getpixel((GAP + 64, middle)) == (255, 0, 0)
    assert sheet.getpixel((2 * GAP + 128 + 64, middle)) == (255, 0, 0)
    second = LABEL_HEIGHT + 256 + CAPTION_HEIGHT + GAP + LABEL_HEIGHT
    assert sheet.getpixel((GAP + 192, second + 128)) == (0, 0, 255)
    assert sheet.getpixel((GAP + 192, second + 256 + 128)) == (255, 0, 0)
    with pytest.raises(ValueError, match="at least one picture"):
        draw_sheet([SheetSection("none", [])])


def test_two_hundred_pictures_wrap_and_stay_large_enough_to_see():
    pictures = [Image.new("RGB", (176, 256), (number, 0, 0)) for number in range(200)]
    sheet = draw_sheet(
        [SheetSection("all", [Cell([own, own], f"walk-{number}_1") for number, own in enumerate(pictures)])]
    )
    assert sheet.width <= WIDTH
    reds = np.asarray(sheet)[..., 0][np.asarray(sheet)[..., 2] == 0]
    counts = np.bincount(reds, minlength=200)[10:200]
    assert counts.min() >= 2 * 140 * 90  # each, twice, of at least 140x90 pixels


def test_a_rejected_picture_is_framed_and_a_transparent_one_checked():
    plain, rejected = (draw_sheet([SheetSection("x", [Cell([BLUE], "name", rejected)])]) for rejected in (False, True))
    assert plain.getpixel((GAP + 1, LABEL_HEIGHT + 1)) == (0, 0, 255)
    assert rejected.getpixel((GAP + 1, LABEL_HEIGHT + 1)) == (200, 40, 30)
    clear = draw_sheet([SheetSection("x", [Cell([Image.new("RGBA", (64, 128))])])])
    assert {clear.getpixel((GAP + x, LABEL_HEIGHT + 4)) for x in (4, 12)} == {(255, 255, 255), (215, 215, 215)}


def test_blocks_keep_pictures_apart_and_in_their_columns():
    red, blue = Image.new("RGB", (10, 20), "red"), Image.new("RGB", (30, 60), "blue")
    page = np.asarray(draw_blocks([Block("", ["a", "b"], [[red, blue], [None, red]])])).astype(int)
    is_red = (page[..., 0] > 200) & (page[..., 1] < 60)
    is_blue = (page[..., 2] > 200) & (page[..., 1] < 60)
    assert is_red.sum() == 2 * 30 * 60 and is_blue.sum() == 30 * 60
    assert np.argwhere(is_blue)[:, 1].min() > np.argwhere(is_red)[:, 1].min()
    below = np.argwhere(is_red & (np.arange(len(page))[:, None] > np.argwhere(is_blue)[:, 0].max()))
    assert below[:, 1].min() == np.argwhere(is_blue)[:, 1].min()  # the second row's is below the blue one
    with pytest.raises(ValueError, match="a row has 1 pictures, 2 expected"):
        draw_blocks([Block("x", ["a", "b"], [[red]])])
    with pytest.raises(ValueError, match="at least one row"):
        draw_blocks([Block("x", ["a"], [])])
