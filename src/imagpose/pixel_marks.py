"""Marks in the pixels themselves: a line that people see, and a watermark that programs find. Both change the picture.

The watermark is that of the library `invisible-watermark`, method dwtDctSvd: of each 8x8 pixels (4x4 coefficients of a Haar
transform's low band, then their DCT) the largest singular value is rounded to a place that says one bit of 32. The bits
are the same in every picture: they say "imagpose", nothing else.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

NO_MARK = "none"
PIXEL_MARKS = (NO_MARK, "visible", "invisible", "both")
LABEL = "AI generated"
_WORD = np.unpackbits(np.frombuffer(b"IMGP", np.uint8))
_ENOUGH = 29  # of 32 bits; by chance a picture has as many once in 780,000
_BLOCK = 8  # pixels a side that hold one bit
_LEAST_BLOCKS = 4 * len(_WORD)  # each bit is there four times, as at 128x64


def check_pixel_mark(mark: str, height: int | None = None, width: int | None = None) -> None:
    """Look at a mark before any time is spent on pictures.

    Args:
        mark: one of `PIXEL_MARKS`.
        height, width: of the pictures, where they are known.

    Raises:
        ValueError: there is no such mark, the pictures are too small for it, or the extra `watermark` is missing.
    """
    if mark not in PIXEL_MARKS:
        raise ValueError(f"mark {mark!r}: one of {', '.join(PIXEL_MARKS)} expected")
    if mark in ("invisible", "both"):
        if find_spec("imwatermark") is None:
            raise ValueError("an invisible mark needs invisible-watermark: pip install 'imagpose[watermark]'")
        if height and width and (height // _BLOCK) * (width // _BLOCK) < _LEAST_BLOCKS:
            raise ValueError(f"{height}x{width} is too small for an invisible mark: 128x64 or more expected")


def mark_pixels(picture: Image.Image, mark: str) -> Image.Image:
    """A picture with a mark; the same for the same picture.

    Args:
        picture: RGB, or RGBA, whose transparency is kept.
        mark: "none" (gives the picture itself), "visible", "invisible", or "both".

    Raises:
        ValueError: as `check_pixel_mark`.
    """
    check_pixel_mark(mark, picture.height, picture.width)
    if mark == NO_MARK:
        return picture
    marked = picture.copy()
    if mark != "invisible":
        _label(marked)
    if mark != "visible":
        pixels = _embedder()(_WORD, wmLen=len(_WORD)).encode(_bgr(marked))
        hidden = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))
        if marked.mode == "RGBA":
            hidden.putalpha(marked.getchannel("A"))
        marked = hidden
    return marked


def has_watermark(picture: Image.Image) -> bool:
    """Whether the invisible mark is found in a picture.

    Raises:
        ValueError: the extra `watermark` is missing.
    """
    check_pixel_mark("invisible")
    if (picture.height // _BLOCK) * (picture.width // _BLOCK) < len(_WORD):
        return False
    found = _embedder()([], wmLen=len(_WORD)).decode(_bgr(picture))
    return int((np.asarray(found, np.uint8) == _WORD).sum()) >= _ENOUGH


def _label(picture: Image.Image) -> None:
    """Write the line into the lower right corner, on a ground that it can be read on."""
    font = ImageFont.load_default(size=max(8, round(picture.height / 22)))
    left, top, right, bottom = font.getbbox(LABEL)
    pad = max(2, round(picture.height / 90))
    box = Image.new("L", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad), 40)
    ImageDraw.Draw(box).text((pad - left, pad - top), LABEL, fill=255, font=font)
    if box.width > picture.width:
        box = box.resize((picture.width, max(1, round(box.height * picture.width / box.width))))
    ground = Image.new("L", box.size, 255)
    corner = (picture.width - box.width, picture.height - box.height)
    picture.paste(Image.merge("RGBA", (box, box, box, ground)).convert(picture.mode), corner)


def _bgr(picture: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[..., ::-1])


def _embedder() -> Any:
    """The library's class of the method; its `WatermarkEncoder` would refuse pictures of less than 256x256 pixels."""
    from imwatermark.dwtDctSvd import EmbedDwtDctSvd

    return EmbedDwtDctSvd
