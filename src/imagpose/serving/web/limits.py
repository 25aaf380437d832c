"""What a page takes from outside: how large, how many, and from which folder."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagpose.pictures import picture_size


@dataclass(frozen=True)
class Limits:
    """How much a page takes.

    Attributes:
        file_bytes: of one uploaded file.
        picture_pixels: of one photo, or frame of a clip.
        photos, poses, pictures: of one request.
        frames: of one film: ten seconds at 25 a second.
        steps: of sampling.
        side: of a generated picture, in pixels.
        views: slots of a joint canvas.
        waiting: requests that may wait beside the one that is worked on.
        kept_seconds: how long files stay.
        kept_bytes: of all files together, above which uploads and requests are refused.
    """

    file_bytes: int = 20 * 2**20
    picture_pixels: int = 40_000_000
    photos: int = 8
    poses: int = 16
    pictures: int = 32
    frames: int = 10 * 25
    steps: int = 100
    side: int = 1024
    views: int = 16
    waiting: int = 8
    kept_seconds: float = 3600.0
    kept_bytes: int = 4 * 2**30

    def check_file(self, path: Path) -> None:
        """Raises `ValueError` if a file is too large."""
        size = path.stat().st_size
        if size > self.file_bytes:
            raise ValueError(f"{path.name} has {size / 2**20:.1f} MB; at most {self.file_bytes / 2**20:g} MB are taken")

    def check_photo(self, path: Path) -> None:
        """Raises `ValueError` if a photo is too large, in bytes or in pixels, by its header alone."""
        self.check_file(path)
        width, height = picture_size(path)
        self.check_pixels(path, height, width)

    def check_pixels(self, path: Path, height: int, width: int) -> None:
        """Raises `ValueError` if a picture in a file has too many pixels."""
        if width * height > self.picture_pixels:
            raise ValueError(
                f"{path.name} has {height}x{width} pixels; at most {self.picture_pixels / 1e6:g} million are taken"
            )

    def check_room(self, folder: Path, more: int) -> None:
        """Raises `ValueError` if a folder of uploads and results cannot take so many bytes more."""
        there = 0
        for parent, _, files in os.walk(folder):  # passes over folders that are removed in the meantime
            for name in files:
                with suppress(FileNotFoundError):
                    there += Path(parent, name).stat().st_size
        if there + more > self.kept_bytes:
            raise ValueError("no room for more files; old ones are removed after a while, try again later")

    def check_request(
        self,
        photos: int = 0,
        poses: int = 0,
        pictures: int = 0,
        frames: int = 0,
        steps: int = 0,
        size: tuple[int, int] | None = None,
        views: int = 0,
    ) -> None:
        """Raises `ValueError` if a request asks for too much."""
        asked = {
            "photos": (photos, self.photos),
            "target poses": (poses, self.poses),
            "pictures": (pictures, self.pictures),
            "frames": (frames, self.frames),
            "steps": (steps, self.steps),
            "pixels a side": (max(size or (0,)), self.side),
            "slots of the grid": (views, self.views),
        }
        for name, (value, most) in asked.items():
            if value > most:
                raise ValueError(f"{value} {name}: this page takes at most {most}")


def inside(folder: Path, path: object) -> Path:
    """A path that a browser sent, if it is a file inside `folder`.

    Raises:
        ValueError: it leads elsewhere, or there is no such file (any more).
    """
    if not isinstance(path, (str, Path)):
        raise ValueError("no file: upload one first")
    found = Path(path).resolve()
    if not found.is_relative_to(folder.resolve()) or not found.is_file():
        raise ValueError(
            f"{Path(path).name}: no such file here; uploaded files are removed after a while, add it again"
        )
    return found


def remove_old(folder: Path, seconds: float, keep: Collection[Path] = ()) -> None:
    """Remove what lies directly in `folder`, but for `keep`, and was last written to more than so many seconds ago."""
    limit = time.time() - seconds
    for entry in folder.iterdir():
        with suppress(OSError):  # somebody else was faster, or is writing into it
            if entry not in keep and entry.stat().st_mtime < limit:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
