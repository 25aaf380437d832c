"""Pictures from outside: loaded with limits, brought to RGB of 8 bits, fitted into a view. Knows no tensors.

Source: own.
"""

from __future__ import annotations

import base64
import io
import struct
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

MIN_SIDE, MAX_SIDE, MAX_PIXELS = 16, 20_000, 100_000_000
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
# Pillow's other formats are rare, and some of them start programs (EPS).
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# What Pillow raises for damaged files, depending on the format and the damage.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)
_LYING = (5, 6, 7, 8)  # EXIF orientations that turn a picture by 90 degrees
_LONGEST_SIZE = 40  # letters of a text with height and width


def encoded_picture(picture: Image.Image, picture_format: str, **options: Any) -> bytes:
    """The file that Pillow makes of a picture, to be written in one go.

    Where Pillow writes a JPEG itself, it does not notice that a disk is full.

    Args:
        picture: of a mode that the format has.
        picture_format, options: of `PIL.Image.Image.save`.
    """
    file = io.BytesIO()
    picture.save(file, picture_format, **options)
    return file.getvalue()


def data_address(picture: Image.Image, picture_format: str, **options: Any) -> str:
    """An address that holds the picture, for HTML in one file; arguments as of `encoded_picture`."""
    encoded = base64.b64encode(encoded_picture(picture, picture_format, **options)).decode("ascii")
    return f"data:{Image.MIME[picture_format]};base64,{encoded}"


def picture_files(entries: Iterable[Path]) -> list[Path]:
    """The files among a folder's entries that have a picture's ending and are not hidden, by name."""
    return sorted(
        path
        for path in entries
        if path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def load_picture(source: Any, data: bytes | None = None) -> Image.Image:
    """An RGB picture from a file, a PIL picture, an array or a tensor.

    EXIF orientation is applied, transparent places become white, grey and 16-bit pictures become RGB.

    Args:
        source: path of a PNG, JPEG, WebP, BMP, GIF, TIFF or PPM file; PIL picture; array (H, W) or (H, W, 1|3|4),
            or tensor (1|3|4, H, W), of uint8 or of floats in [0, 1]. A file of floats (TIFF) may hold [0, 1] or 0..255.
        data: what a file holds, where it has been read already.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, damaged, a side outside 16..20,000 pixels, more than 100 million pixels, or values
            outside the stated ranges; the message names the file.
    """
    if isinstance(source, (str, Path)):
        return _load_file(Path(source), data)
    if isinstance(source, Image.Image):
        return _to_rgb(source, "picture")
    if type(source).__module__.split(".")[0] == "torch":
        if source.ndim != 3 or source.shape[0] not in (1, 3, 4):
            raise ValueError(f"picture tensor has shape {tuple(source.shape)}; (3, H, W) expected")
        values = source.detach().cpu().movedim(0, -1)
        return _from_array((values.float() if values.is_floating_point() else values).numpy())
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise ValueError(f"a picture must be a path, PIL picture, array or tensor, not {type(source).__name__}")


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height that `load_picture` gives a file, from its header alone: the pixels may still be damaged.

    Raises:
        FileNotFoundError, ValueError: as `load_picture`, for what a header shows.
    """
    with _open_file(path) as picture:
        _check_size(*picture.size, str(path))
        if picture.format == "PNG" and "exif" not in picture.info:
            return picture.size  # Pillow would decode the whole file in search of a late EXIF chunk
        try:
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
        except DAMAGE as error:
            raise ValueError(f"{path}: damaged picture ({error})") from None
    width, height = picture.size
    return (height, width) if orientation in _LYING else (width, height)


def _load_file(path: Path, data: bytes | None) -> Image.Image:
    with _open_file(path, data) as picture:
        return _to_rgb(picture, str(path))


def _open_file(path: Path, data: bytes | None = None) -> Image.Image:
    if data is None and not path.is_file():
        raise FileNotFoundError(f"picture not found: {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit follows
            return Image.open(path if data is None else io.BytesIO(data), formats=_FORMATS)
    except PermissionError:
        raise
    except UnidentifiedImageError:
        raise ValueError(
            f"{path}: not a picture that can be read (PNG, JPEG, WebP, BMP, GIF, TIFF or PPM expected)"
        ) from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: more than {MAX_PIXELS:,} pixels") from None
    except DAMAGE as error:
        raise ValueError(f"{path}: damaged picture ({error})") from None


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    _check_size(*picture.size, name)
    try:
        picture.load()
        picture = ImageOps.exif_transpose(picture)
    except DAMAGE as error:
        raise ValueError(f"{name}: damaged picture ({error})") from None
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _to_8_bits(picture, name)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")


def _check_size(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limits = f"sides from {MIN_SIDE} to {MAX_SIDE:,} and at most {MAX_PIXELS:,} pixels expected"
        raise ValueError(f"{name}: {height}x{width} pixels; {limits}")


def _to_8_bits(picture: Image.Image, name: str) -> Image.Image:
    """Grey pictures of 16 bits, of 32 bits that hold 8 or 16, or of floats in [0, 1] or in 0..255."""
    values = np.asarray(picture, np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: it holds values that are not finite")
    highest = values.max()
    if picture.mode.startswith("I;16") or (picture.mode == "I" and highest > 255):
        values = values / 257
    elif picture.mode == "F" and highest <= 1:
        values = values * 255
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def _from_array(values: np.ndarray) -> Image.Image:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise ValueError(f"picture array has shape {values.shape}; (H, W), (H, W, 3) or (H, W, 4) expected")
    _check_size(values.shape[1], values.shape[0], "picture")
    if np.issubdtype(values.dtype, np.floating):
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise ValueError("a picture of floats must hold finite values in [0, 1]")
        values = (values * 255).round().astype(np.uint8)
    if values.dtype != np.uint8:
        raise ValueError(f"a picture array must be uint8 or float in [0, 1], not {values.dtype}")
    return _to_rgb(Image.fromarray(values), "picture")


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of a text such as 256x176.

    Raises:
        ValueError: the text has another form.
    """
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()) or len(text) > _LONGEST_SIZE:
        raise ValueError(f"size is {text[:_LONGEST_SIZE]!r}; height x width expected, for example 256x176")
    return int(height), int(width)


def fit_view(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture as a view of `width` x `height`: as large as fits, its aspect kept, centred, its edges replicated.

    `Pose.fit` does the same to a pose in the picture's frame.
    """
    fitted_width, fitted_height, left, top = fitted_box(picture.width, picture.height, width, height)
    if (fitted_width, fitted_height) != picture.size:
        picture = picture.resize((fitted_width, fitted_height), Image.Resampling.LANCZOS)
    if (fitted_width, fitted_height) == (width, height):
        return picture
    sides = ((top, height - fitted_height - top), (left, width - fitted_width - left), (0, 0))
    return Image.fromarray(np.pad(np.asarray(picture), sides, mode="edge"))


def fitted_box(width: int, height: int, view_width: int, view_height: int) -> tuple[int, int, int, int]:
    """Where `fit_view` puts a frame of `width` x `height` in a view: its width and height there, left, top."""
    scale = min(view_width / width, view_height / height)
    fitted_width = max(1, min(view_width, round(width * scale)))
    fitted_height = max(1, min(view_height, round(height * scale)))
    return fitted_width, fitted_height, (view_width - fitted_width) // 2, (view_height - fitted_height) // 2
