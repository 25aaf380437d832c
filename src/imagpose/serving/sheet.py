"""One picture that shows a request at a glance: labelled rows of pictures side by side."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

CELL_HEIGHT = 256
GAP = 12
LABEL_HEIGHT = 30
GROUND = (250, 249, 247)
INK = (40, 42, 48)


def draw_sheet(rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """Draws each row's label and, below it, its pictures at one height (256 pixels), left to right.

    Args:
        rows: label and pictures; all rows may have different numbers of pictures of any size.

    Raises:
        ValueError: there is no picture at all.
    """
    cells = [(label, [_at_cell_height(picture) for picture in pictures]) for label, pictures in rows if pictures]
    if not cells:
        raise ValueError("a sheet needs at least one picture")
    width = max(sum(cell.width + GAP for cell in row) for _, row in cells) + GAP
    row_height = LABEL_HEIGHT + CELL_HEIGHT + GAP
    sheet = Image.new("RGB", (width, GAP + row_height * len(cells)), GROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    for index, (label, row) in enumerate(cells):
        top, left = GAP + index * row_height, GAP
        draw.text((left, top), label, fill=INK, font=font)
        for cell in row:
            sheet.paste(cell, (left, top + LABEL_HEIGHT))
            left += cell.width + GAP
    return sheet


def _at_cell_height(picture: Image.Image) -> Image.Image:
    width = max(1, round(picture.width * CELL_HEIGHT / picture.height))
    return picture.convert("RGB").resize((width, CELL_HEIGHT), Image.Resampling.LANCZOS)
