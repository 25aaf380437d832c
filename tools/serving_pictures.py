"""The pictures of docs/bulk.md and docs/provenance.md, from a bulk job with mini.

    python tools/serving_pictures.py --out docs/images

Needs the extra watermark.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from imagpose.pixel_marks import PIXEL_MARKS, mark_pixels
from imagpose.provenance import Origin, save_generated, save_rendered
from imagpose.serving.bulk import BulkRequest, run_bulk
from imagpose.serving.demo import PEOPLE_FOLDER
from imagpose.sheets import Cell, SheetSection, draw_sheet

POSES = ("walk-03", "wave-01", "sit-02")


def opened(file: Path) -> Image.Image:
    """A picture from a file that may be gone afterwards."""
    with Image.open(file) as picture:
        return picture.convert("RGB")


def bulk_sheet() -> Image.Image:
    """The results of a table with a row for each person that ships: the photo, and its pictures below it."""
    people = sorted(PEOPLE_FOLDER.iterdir())
    requests = [BulkRequest(person.name, [person / "0.png", person / "1.png"], list(POSES)) for person in people]
    with tempfile.TemporaryDirectory() as name:
        report = run_bulk(requests, name)
        if report.failed:
            raise SystemExit(f"{report.failed} requests failed")
        cells = []
        for person in people:
            (folder,) = Path(name).glob(f"pictures/*/{person.name}")
            made = [opened(folder / f"{pose}.png") for pose in POSES]
            cells.append(Cell([opened(person / "0.png"), *made], person.name))
    return draw_sheet([SheetSection(f"five rows: a photo, and its pictures {', '.join(POSES)}; id", cells)])


def marked_sheet(picture: Image.Image) -> Image.Image:
    """A picture with each mark in the pixels."""
    return draw_sheet([SheetSection("--mark", [Cell([mark_pixels(picture, mark)], mark) for mark in PIXEL_MARKS])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    save_rendered(marked_sheet(opened(PEOPLE_FOLDER / "2000006" / "0.png")), out / "pixel-marks.png")
    save_generated(bulk_sheet(), out / "bulk-results.png", Origin("mini", 0, composite=True))


if __name__ == "__main__":
    main()
