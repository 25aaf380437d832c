"""Photos as they are read for requests: many requests of a job show one person, whose photos are decoded once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from imagpose.pictures import load_picture, picture_size

PictureLike: TypeAlias = "str | Path | Image.Image | Any"
"""A path, or what `pictures.load_picture` takes."""


class Photos:
    """Reads photos, and knows those again that it read last, by the bytes of their files.

    What it gives belongs to several requests: nobody may change a picture in place.

    Args:
        pixels: of all photos that are remembered, at most, 4 bytes each in Pillow's memory; the last one is remembered
            however large it is.
    """

    def __init__(self, pixels: int = 40_000_000) -> None:
        self.pixels, self._held = pixels, 0
        self._known: OrderedDict[str, Image.Image] = OrderedDict()

    def read(self, source: PictureLike) -> tuple[Image.Image, str]:
        """An RGB picture, and a digest by which a rerun knows it again: SHA-256 of the file, or of a picture's pixels.

        Raises:
            ValueError, OSError: as `pictures.load_picture`.
        """
        if not isinstance(source, (str, Path)):
            picture = load_picture(source)
            return picture, hashlib.sha256(picture.tobytes()).hexdigest()
        path = Path(source)
        picture_size(path)  # whatever is no picture is refused by its first bytes, and not read as a whole
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        known = self._known.pop(digest, None)
        if known is None:
            known = load_picture(path, data)
            self._held += known.width * known.height
        self._known[digest] = known
        while self._held > self.pixels and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._held -= oldest.width * oldest.height
        return known, digest
