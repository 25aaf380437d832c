"""One picture that shows many at a glance: sections of captioned cells, wrapped into rows, for hundreds of them."""

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
    drawn = [_draw_section(section, height) for section in shown]
    sheet = Image.new("RGB", (max(own.width for own in drawn), sum(own.height for own in drawn)), _GROUND)
    top = 0
    for own in drawn:
        sheet.paste(own, (0, top))
        top += own.height
    return sheet


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
