"""`imagpose prepare reid`: any re-identification set in the layout of Market-1501, by a pattern of its names."""

from __future__ import annotations

import contextlib
import csv
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from imagpose.data.reid import FOLDERS, market_name
from imagpose.outputs import check_replaceable, result_folder
from imagpose.pictures import encoded_picture, load_picture

LOADERS = (1501, 6)
"""The most people and cameras that fast-reid's and torchreid's loaders of Market-1501 accept."""
_READ = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_QUALITY = 95  # of pictures that are no JPEG files


class _Found(NamedTuple):
    file: Path
    place: str
    identity: str
    camera: str


@dataclass(frozen=True)
class LaidOut:
    """What was written.

    Attributes:
        pictures: by part.
        identities, cameras: of all parts together.
    """

    pictures: Mapping[str, int]
    identities: int
    cameras: int

    def lines(self) -> list[str]:
        """For people, with what other programs will not read."""
        counts = ", ".join(f"{name} {count:,}" for name, count in self.pictures.items())
        lines = [f"{counts} pictures of {self.identities:,} people by {self.cameras} cameras"]
        if self.identities > LOADERS[0] or self.cameras > LOADERS[1]:
            lines.append(
                f"note: loaders that other programs have for Market-1501 accept at most {LOADERS[0]:,} people and"
                f" {LOADERS[1]} cameras; imagpose reads this set"
            )
        return lines


def lay_out(
    pattern: str, train: Path | str, query: Path | str, gallery: Path | str, out: Path | str, overwrite: bool = False
) -> LaidOut:
    """Copy a set. People of the training part are others than those of queries and gallery, whatever their names.

    JPEG files are copied as they are; other pictures become JPEG files. ``names.csv`` says which file was which, as its path
    below its folder.

    Args:
        pattern: regular expression with two groups, or with groups named ``identity`` and ``camera``; it is looked for in
            each picture's path below its folder, with "/" between folders.
        train, query, gallery: folders of pictures, inner folders too.
        out: folder of the set.
        overwrite: replace an earlier one.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: the pattern is none, or does not fit a picture; a folder is empty; see `outputs.check_replaceable`.
        OSError: a picture cannot be read, or the set cannot be written.
    """
    expression = _compiled(pattern)
    found = {
        part: _find(Path(folder), expression) for part, folder in zip(FOLDERS, (train, query, gallery), strict=True)
    }
    cameras = {
        name: number for number, name in enumerate(_sorted(own.camera for part in found.values() for own in part), 1)
    }
    of_train = _sorted(own.identity for own in found["train"])
    of_test = _sorted(own.identity for part in ("query", "gallery") for own in found[part])
    numbers = {("train", name): number for number, name in enumerate(of_train, 1)}
    numbers |= {("test", name): number for number, name in enumerate(of_test, len(of_train) + 1)}
    check_replaceable(Path(out), overwrite)
    rows = [["file", "original"]]
    with result_folder(Path(out), overwrite) as folder:
        for part, pictures in found.items():
            (folder / FOLDERS[part]).mkdir()
            for frame, own in enumerate(pictures):
                identity = numbers["train" if part == "train" else "test", own.identity]
                name = market_name(identity, cameras[own.camera], frame, box=1)
                _copy(own.file, folder / FOLDERS[part] / name)
                rows.append([f"{FOLDERS[part]}/{name}", own.place])
        with (folder / "names.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return LaidOut({part: len(own) for part, own in found.items()}, len(numbers), len(cameras))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from None
    named = len({"identity", "camera"} & set(expression.groupindex))
    if named == 1 or (named == 0 and expression.groups != 2):
        raise ValueError(
            f"pattern {pattern!r}: two groups expected, who and which camera, or groups named (?P<identity>...) and"
            " (?P<camera>...)"
        )
    return expression


def _find(folder: Path, expression: re.Pattern[str]) -> list[_Found]:
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of pictures not found: {folder}")
    found = []
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in _READ or file.name.startswith("."):
            continue
        place = file.relative_to(folder).as_posix()
        match = expression.search(place)
        named = "identity" in expression.groupindex
        groups = () if match is None else (match["identity"], match["camera"]) if named else match.groups()
        if not groups or not all(groups):
            raise ValueError(f"{folder}: the pattern {expression.pattern!r} does not fit {place}")
        found.append(_Found(file, place, *groups))
    if not found:
        raise ValueError(f"{folder} holds no pictures ({', '.join(_READ)})")
    return found


def _sorted(names: Iterable[str]) -> list[str]:
    """Different names, numbers in their own order."""
    return sorted(set(names), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def _copy(file: Path, target: Path) -> None:
    is_jpeg = False
    with contextlib.suppress(Image.DecompressionBombError), Image.open(file) as picture:  # `load_picture` refuses it
        is_jpeg = picture.format == "JPEG"
    if is_jpeg:
        shutil.copyfile(file, target)
    else:
        target.write_bytes(encoded_picture(load_picture(file), "JPEG", quality=_QUALITY, subsampling=0))
