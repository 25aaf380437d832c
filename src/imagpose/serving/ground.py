"""The ground behind a generated person: kept, of one colour, or transparent. Source: own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageFilter

KEEP, TRANSPARENT = "keep", "transparent"
_EDGE = 0.7  # pixels by which a mask's edge is softened


def check_background(background: str) -> str:
    """Raises `ValueError` unless it is "keep", "transparent" or a colour that Pillow knows, such as "#ffffff"."""
    if background in (KEEP, TRANSPARENT):
        return background
    try:
        ImageColor.getrgb(background)
    except ValueError:
        raise ValueError(
            f"background {background!r}: {KEEP}, {TRANSPARENT} or a colour such as #ffffff expected"
        ) from None
    return background


def put_on_ground(picture: Image.Image, mask: Image.Image, background: str) -> Image.Image:
    """A picture whose ground is another.

    Args:
        picture: RGB.
        mask: grey, of the picture's size: white where the person is.
        background: "keep", "transparent" (gives RGBA) or a colour.
    """
    if background == KEEP:
        return picture
    soft = mask.filter(ImageFilter.GaussianBlur(_EDGE))
    if background == TRANSPARENT:
        clear = picture.copy()
        clear.putalpha(soft)
        return clear
    return Image.composite(picture, Image.new("RGB", picture.size, ImageColor.getrgb(background)[:3]), soft)


def person_masks(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Where the silhouette judge sees the person in each picture, all of one size: grey, white inside."""
    from imagpose.judges.silhouette import find_foreground

    found = find_foreground(np.stack([np.asarray(picture) for picture in pictures]))
    return [Image.fromarray(mask.astype(np.uint8) * 255) for mask in found]
