"""Which marks of a generated picture survive what people do to pictures.

python benchmarks/mark_survival.py [--c2pa-certificate chain.pem --c2pa-key key.pem]

Every row is one treatment of a marked PNG, JPEG and WebP by Pillow: a program that is handed the metadata and one that
is not. `yes`: `read_marks` still finds IPTC's source type, the model and the seed; with a certificate also c2pa's verdict
on the signature.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagpose.provenance import Origin, Signature, read_marks, save_generated

FORMATS = (".png", ".jpg", ".webp")


def plain(change: Callable[[Image.Image], Image.Image], ending: str) -> Callable[[Path, Path], Path]:
    """A program that knows nothing of metadata: pixels in, pixels out."""

    def treat(source: Path, folder: Path) -> Path:
        target = folder / f"treated{ending or source.suffix}"
        with Image.open(source) as picture:
            changed = change(picture.convert("RGB"))
        changed.info = {}
        changed.save(target, quality=80)
        return target

    return treat


def keeping(change: Callable[[Image.Image], Image.Image], ending: str) -> Callable[[Path, Path], Path]:
    """A program that hands the XMP packet on, as photo editors do."""

    def treat(source: Path, folder: Path) -> Path:
        target = folder / f"treated{ending or source.suffix}"
        with Image.open(source) as picture:
            picture.load()
            packet = picture.info["xmp"]
            changed = change(picture.convert("RGB"))
        changed.info = {}
        if target.suffix == ".png":
            chunks = PngInfo()
            chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
            changed.save(target, pnginfo=chunks)
        else:
            changed.save(target, quality=80, xmp=packet)
        return target

    return treat


def copied(source: Path, folder: Path) -> Path:
    """Copied or renamed, byte by byte."""
    target = folder / f"copy{source.suffix}"
    target.write_bytes(source.read_bytes())
    return target


def same(picture: Image.Image) -> Image.Image:
    return picture


def crop(picture: Image.Image) -> Image.Image:
    return picture.crop((8, 8, picture.width - 8, picture.height - 8))


def half(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)


TREATMENTS: dict[str, Callable[[Path, Path], Path]] = {
    "copied or renamed": copied,
    "encoded again, metadata handed on": keeping(same, ""),
    "cropped, metadata handed on": keeping(crop, ""),
    "half the size, metadata handed on": keeping(half, ""),
    "turned into JPEG, metadata handed on": keeping(same, ".jpg"),
    "encoded again, metadata dropped": plain(same, ""),
    "cropped, metadata dropped": plain(crop, ""),
    "half the size, metadata dropped": plain(half, ""),
    "screenshot (pixels only, PNG)": plain(same, ".png"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--c2pa-certificate", type=Path)
    parser.add_argument("--c2pa-key", type=Path)
    arguments = parser.parse_args()
    certificate, key = arguments.c2pa_certificate, arguments.c2pa_key
    signature = Signature(certificate, key) if certificate and key else None
    rows, columns = np.mgrid[0:256, 0:176]
    picture = Image.fromarray(np.stack([rows, columns, (rows + columns) // 2], -1).astype(np.uint8))
    origin = Origin("mini", 7)
    print("| treatment | " + " | ".join(ending[1:].upper() for ending in FORMATS) + " |")
    print("| --- |" + " --- |" * len(FORMATS))
    with tempfile.TemporaryDirectory() as name:
        for treatment, treat in TREATMENTS.items():
            cells = []
            for ending in FORMATS:
                save_generated(picture, Path(name) / f"marked{ending}", origin, signature)
                marks = read_marks(treat(Path(name) / f"marked{ending}", Path(name)))
                kept = marks.generated and (marks.model, marks.seed) == (origin.model, origin.seed)
                signed = "" if signature is None else f", signature {(marks.c2pa or 'gone').lower()}"
                cells.append(("yes" if kept else "no") + signed)
            print(f"| {treatment} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
