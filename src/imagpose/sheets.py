"""One picture that shows many: captioned cells that wrap into rows, for hundreds of them, or rows under headings.

Source: own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

WIDTH = 2000  # pixels; a section of more cells goes on in the next row
GAP = 12
CAPTION_HEIGHT = 20
LABEL_HEIGHT = 34
_HEIGHTS = ((24, 256), (80, 192), (10**9, 144))  # of a picture, where a section has at most so many cells
_GROUND, _INK, _RED = (250, 249, 247), (40, 42, 48), (200, 40, 30)

# Of rows under headings, pixels:
_ROW_HEIGHT = 192  # of a picture at most
_APART, _BETWEEN = 4, 20  # between pictures, and between blocks
_TITLE, _HEAD = 26, 20
_PAPER, _SOFT = (255, 255, 255), (90, 94, 102)


@dataclass(frozen=True, eq=False)
class Cell:
    """Pictures of any size, one above the other, and a line below them.

    Attributes:
        pictures: at least one; all are shown at one height.
        caption: one line, cut where it is wider than the cell.
        rejected: framed in red.
    """

    pictures: Sequence[Image.Image]
    caption: str = ""
    rejected: bool = False


@dataclass(frozen=True, eq=False)
class SheetSection:
    """A label and what stands below it."""

    label: str
    cells: Sequence[Cell]


def draw_sheet(sections: Sequence[SheetSection]) -> Image.Image:
    """Draw all sections below each other; those without cells are left out.

    Raises:
        ValueError: there is no picture at all.
    """
    shown = [section for section in sections if section.cells]
    if not shown:
        raise ValueError("a sheet needs at least one picture")
    height = next(height for most, height in _HEIGHTS if max(len(section.cells) for section in shown) <= most)
    return _stacked([_draw_section(section, height) for section in shown], _GROUND, 0, 0)


def _stacked(drawn: Sequence[Image.Image], ground: tuple[int, int, int], margin: int, between: int) -> Image.Image:
    """Pictures below each other, with a margin at their sides and space between them, half of it above and below."""
    size = max(own.width for own in drawn) + 2 * margin, sum(own.height + between for own in drawn)
    whole = Image.new("RGB", size, ground)
    top = between // 2
    for own in drawn:
        whole.paste(own, (margin, top))
        top += own.height + between
    return whole


def _draw_section(section: SheetSection, height: int) -> Image.Image:
    """The label, and below it the cells, left to right, row by row."""
    cells = [_draw_cell(cell, height) for cell in section.cells]
    rows: list[list[Image.Image]] = [[]]
    used = GAP
    for cell in cells:
        if rows[-1] and used + cell.width + GAP > WIDTH:
            rows.append([])
            used = GAP
        rows[-1].append(cell)
        used += cell.width + GAP
    width = max(sum(cell.width + GAP for cell in row) + GAP for row in rows)
    heights = [max(cell.height for cell in row) + GAP for row in rows]
    font = ImageFont.load_default(size=18)
    width = max(width, 2 * GAP + round(font.getlength(section.label)))
    picture = Image.new("RGB", (width, LABEL_HEIGHT + sum(heights)), _GROUND)
    ImageDraw.Draw(picture).text((GAP, LABEL_HEIGHT - 24), section.label, fill=_INK, font=font)
    top = LABEL_HEIGHT
    for row, row_height in zip(rows, heights, strict=True):
        left = GAP
        for cell in row:
            picture.paste(cell, (left, top))
            left += cell.width + GAP
        top += row_height
    return picture


def _draw_cell(cell: Cell, height: int) -> Image.Image:
    pictures = [_at_height(picture, height) for picture in cell.pictures]
    width = max(picture.width for picture in pictures)
    drawn = Image.new("RGB", (width, len(pictures) * height + (CAPTION_HEIGHT if cell.caption else 0)), _GROUND)
    for index, picture in enumerate(pictures):
        drawn.paste(picture, ((width - picture.width) // 2, index * height))
    draw = ImageDraw.Draw(drawn)
    if cell.rejected:
        draw.rectangle((0, 0, width - 1, len(pictures) * height - 1), outline=_RED, width=4)
    if cell.caption:
        font = ImageFont.load_default(size=13)
        text = _cut(cell.caption, width, font)
        draw.text((0, len(pictures) * height + 3), text, fill=_RED if cell.rejected else _INK, font=font)
    return drawn


def _at_height(picture: Image.Image, height: int) -> Image.Image:
    """The picture at this height, transparent places as a checked ground."""
    width = max(1, round(picture.width * height / picture.height))
    small = picture.resize((width, height), Image.Resampling.LANCZOS)
    if small.mode != "RGBA":
        return small.convert("RGB")
    ground = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(ground)
    for top in range(0, height, 8):
        for left in range(top % 16, width, 16):
            draw.rectangle((left, top, left + 7, top + 7), fill=(215, 215, 215))
    ground.paste(small, mask=small.getchannel("A"))
    return ground


def _cut(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, or as much of its two ends as fits."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
        if font.getlength(shorter) <= width:
            return shorter
    return text[:1]


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
    return _stacked(drawn, _PAPER, _APART, _BETWEEN)


def _draw_block(block: Block) -> Image.Image:
    if wrong := [row for row in block.rows if len(row) != len(block.head)]:
        raise ValueError(f"{block.title}: a row has {len(wrong[0])} pictures, {len(block.head)} expected")
    height = min(_ROW_HEIGHT, max(picture.height for row in block.rows for picture in row if picture))
    rows = [[None if own is None else _at_height(own, height) for own in row] for row in block.rows]
    font, title_font = ImageFont.load_default(size=13), ImageFont.load_default(size=17)
    widths = [
        max([round(font.getlength(text)) + 2, *(own.width for own in column if own)])
        for text, column in zip(block.head, zip(*rows, strict=True), strict=True)
    ]
    above = (_TITLE if block.title else 0) + _HEAD
    width = max(sum(widths) + _APART * len(widths), round(title_font.getlength(block.title)))
    drawn = Image.new("RGB", (width, above + len(rows) * (height + _APART)), _PAPER)
    draw = ImageDraw.Draw(drawn)
    draw.text((0, 0), block.title, fill=_INK, font=title_font)
    left = 0
    for text, column_width, column in zip(block.head, widths, zip(*rows, strict=True), strict=True):
        draw.text((left + column_width // 2, above - 4), text, fill=_SOFT, font=font, anchor="ms")
        for number, own in enumerate(column):
            if own:
                drawn.paste(own, (left + (column_width - own.width) // 2, above + number * (height + _APART)))
        left += column_width + _APART
    return drawn
