"""A page of pictures as the paper lays them out: blocks of rows under a line of headings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_GAP, _BETWEEN = 4, 20  # pixels between pictures, and between blocks
_TITLE, _HEAD = 26, 20  # pixels
_HEIGHT = 192  # of a picture at most
_GROUND, _INK, _SOFT = (255, 255, 255), (32, 34, 38), (90, 94, 102)


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of pictures that share columns.

    Attributes:
        title: above it; "" for none.
        head: of each column.
        rows: pictures, None for an empty place; columns as in `head`.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Image.Image | None]]


def draw_blocks(blocks: Sequence[Block]) -> Image.Image:
    """All blocks below each other, every picture at one height, columns as wide as their widest picture and heading.

    Raises:
        ValueError: there is no picture, or a row has another number of places than its head.
    """
    drawn = [_draw_block(block) for block in blocks if block.rows]
    if not drawn:
        raise ValueError("a figure needs at least one row of pictures")
    width = max(own.width for own in drawn) + 2 * _GAP
    page = Image.new("RGB", (width, sum(own.height + _BETWEEN for own in drawn)), _GROUND)
    top = _BETWEEN // 2
    for own in drawn:
        page.paste(own, (_GAP, top))
        top += own.height + _BETWEEN
    return page


def _draw_block(block: Block) -> Image.Image:
    if wrong := [row for row in block.rows if len(row) != len(block.head)]:
        raise ValueError(f"{block.title}: a row has {len(wrong[0])} pictures, {len(block.head)} expected")
    height = min(_HEIGHT, max(picture.height for row in block.rows for picture in row if picture))
    rows = [[None if own is None else _at_height(own, height) for own in row] for row in block.rows]
    font, title_font = ImageFont.load_default(size=13), ImageFont.load_default(size=17)
    widths = [
        max([round(font.getlength(text)) + 2, *(own.width for own in column if own)])
        for text, column in zip(block.head, zip(*rows, strict=True), strict=True)
    ]
    above = (_TITLE if block.title else 0) + _HEAD
    width = max(sum(widths) + _GAP * len(widths), round(title_font.getlength(block.title)))
    drawn = Image.new("RGB", (width, above + len(rows) * (height + _GAP)), _GROUND)
    draw = ImageDraw.Draw(drawn)
    draw.text((0, 0), block.title, fill=_INK, font=title_font)
    left = 0
    for text, column_width, column in zip(block.head, widths, zip(*rows, strict=True), strict=True):
        draw.text((left + column_width // 2, above - 4), text, fill=_SOFT, font=font, anchor="ms")
        for number, own in enumerate(column):
            if own:
                drawn.paste(own, (left + (column_width - own.width) // 2, above + number * (height + _GAP)))
        left += column_width + _GAP
    return drawn


def _at_height(picture: Image.Image, height: int) -> Image.Image:
    if picture.height == height:
        return picture.convert("RGB")
    width = max(1, round(picture.width * height / picture.height))
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
