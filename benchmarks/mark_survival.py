"""Which marks of a generated picture survive what people do to pictures.

python benchmarks/mark_survival.py [--c2pa-certificate chain.pem --c2pa-key key.pem] [--pixels]

Every row is one treatment of a marked PNG, JPEG and WebP by Pillow: a program that is handed the metadata and one that
is not. `yes`: `read_marks` still finds IPTC's source type, the model and the seed; with a certificate also c2pa's verdict
on the signature. With --pixels (extra watermark) instead: in how many of the rendered pictures that ship the invisible mark
is still found, and what it changes.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagpose.films import clip_frames
from imagpose.metrics.pixels import psnr
from imagpose.pictures import encoded_picture
from imagpose.pixel_marks import has_watermark, mark_pixels
from imagpose.provenance import FORMATS as FORMATS_OF_PILLOW
from imagpose.provenance import Origin, Signature, read_marks, save_film, save_generated
from imagpose.serving.demo import PEOPLE_FOLDER

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


def encoded(ending: str, quality: int) -> Callable[[Image.Image], Image.Image]:
    """Through a file with loss and back."""

    def treat(picture: Image.Image) -> Image.Image:
        file = io.BytesIO(encoded_picture(picture, FORMATS_OF_PILLOW[ending], quality=quality))
        return Image.open(file).convert("RGB")

    return treat


def there_and_back(factor: float) -> Callable[[Image.Image], Image.Image]:
    """Another size, and the first one again."""

    def treat(picture: Image.Image) -> Image.Image:
        other = (round(picture.width * factor), round(picture.height * factor))
        return picture.resize(other, Image.Resampling.LANCZOS).resize(picture.size, Image.Resampling.LANCZOS)

    return treat


def through_mp4(picture: Image.Image) -> Image.Image:
    """A frame of a film, as `animate` writes it."""
    with tempfile.TemporaryDirectory() as name:
        film = Path(name) / "film.mp4"
        save_film([picture] * 3, film, 25, Origin("mini", 7))
        frame: Image.Image = list(clip_frames(film))[1]
        return frame


OF_PIXELS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it was written": same,
    "JPEG, quality 95": encoded(".jpg", 95),
    "JPEG, quality 80": encoded(".jpg", 80),
    "JPEG, quality 50": encoded(".jpg", 50),
    "WebP, quality 95": encoded(".webp", 95),
    "WebP, quality 80": encoded(".webp", 80),
    "frame of an MP4": through_mp4,
    "half the size and back": there_and_back(0.5),
    "double the size and back": there_and_back(2),
    "half the size": half,
    "8 pixels cut off each side": crop,
    "10 % brighter": lambda picture: picture.point(lambda value: min(255, round(1.1 * value))),
}


def print_pixels() -> None:
    """Print the table of the invisible mark."""
    files = sorted(PEOPLE_FOLDER.glob("*/*.png"))
    plain = [Image.open(file).convert("RGB") for file in files]
    marked = [mark_pixels(picture, "invisible") for picture in plain]
    print(f"{len(plain)} pictures of {plain[0].height}x{plain[0].width}")
    print("| treatment | found with the mark | found without it |")
    print("| --- | ---: | ---: |")
    for treatment, treat in OF_PIXELS.items():
        found, by_chance = (sum(has_watermark(treat(own)) for own in pictures) for pictures in (marked, plain))
        print(f"| {treatment} | {found} | {by_chance} |")
    values = sorted(psnr(np.asarray(own), np.asarray(other)) for own, other in zip(marked, plain, strict=True))
    print(f"PSNR of marked and plain: {values[0]:.1f} to {values[-1]:.1f} dB, median {values[len(values) // 2]:.1f} dB")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--c2pa-certificate", type=Path)
    parser.add_argument("--c2pa-key", type=Path)
    parser.add_argument("--pixels", action="store_true")
    arguments = parser.parse_args()
    if arguments.pixels:
        print_pixels()
        return
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
