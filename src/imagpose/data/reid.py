"""Re-identification sets in Market-1501's layout: whom a picture shows and by which camera is said by its name.

    ROOT/bounding_box_train/0002_c1s1_000451_03.jpg     training
    ROOT/query/..., ROOT/bounding_box_test/...           queries and gallery: -1 is junk, 0000 a distractor

The rule is the one of fast-reid and torchreid, `([-\\d]+)_c(\\d)`, read at the start of the name and with cameras of any
number of digits, so that larger sets can be laid out alike.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MANIFEST = "manifest.csv"
"""What is generated in bounding_box_train, and from what; a column `file` at least."""
UNFINISHED = "augment.part.csv"
"""What of it is done while a set is being enlarged."""

JUNK = -1
"""Identity of pictures that show no person, or too little of one."""

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
GENERATED_FROM = 900_000
"""Frame numbers of generated pictures, in names of Market-1501, begin here."""
_NAME = re.compile(r"(-?\d+)_c(\d+)")
_PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class ReidPicture:
    """A picture of a set.

    Attributes:
        file: where it is.
        identity: whom it shows; 0 is a distractor.
        camera: which one took it.
    """

    file: Path
    identity: int
    camera: int


def list_pictures(root: Path | str, part: str) -> list[ReidPicture]:
    """The pictures of "train", "query" or "gallery" in the order of their names, without junk and hidden files.

    Raises:
        FileNotFoundError: the folder is missing.
        ValueError: a name does not say whom it shows, or the folder is empty.
    """
    folder = Path(root) / FOLDERS[part]
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of pictures not found: {folder} (the layout of Market-1501 is expected)")
    pictures = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in _PICTURES and not file.name.startswith("."):
            found = _NAME.match(file.name)
            if found is None:
                raise ValueError(
                    f"{file}: a name such as 0002_c1s1_000451_03.jpg is expected; see imagpose prepare reid"
                )
            if int(found[1]) != JUNK:
                pictures.append(ReidPicture(file, int(found[1]), int(found[2])))
    if not pictures:
        raise ValueError(f"{folder} holds no pictures ({', '.join(_PICTURES)})")
    return pictures


def labels_of(pictures: Sequence[ReidPicture]) -> tuple[np.ndarray, np.ndarray]:
    """Identities and cameras of some pictures, int (n,) each."""
    return np.array([own.identity for own in pictures]), np.array([own.camera for own in pictures])


def generated_names(root: Path | str) -> set[str]:
    """Names of the training pictures that the set's ``manifest.csv`` lists as generated; none where there is no such file.

    Raises:
        ValueError: it has no column ``file``; or the set is still being enlarged.
    """
    path = Path(root) / MANIFEST
    if not path.is_file() and (path.parent / UNFINISHED).is_file():
        raise ValueError(f"{root} is not finished: run the same imagpose reid augment again, which continues")
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if "file" not in (rows.fieldnames or ()):
            raise ValueError(f"{path}: a column 'file' is expected")
        return {row["file"] for row in rows}


def check_not_enlarged(root: Path | str) -> None:
    """Refuse a set with generated pictures where all are taken for real ones.

    Raises:
        ValueError: it has some, or see `generated_names`.
    """
    if generated_names(root):
        raise ValueError(f"{root} has generated pictures ({MANIFEST}): give the set that it was made from")


def subset(pictures: Sequence[ReidPicture], share: float, seed: int) -> list[ReidPicture]:
    """A share of the pictures, with at least one of each identity, in their own order.

    Subsets of one seed lie within one another. Of Market-1501's 12,936 pictures 20, 40, 60 and 80 % are the published
    2,587, 5,174, 7,761 and 10,348.

    Args:
        pictures: of the training set.
        share: 0..1, rounded down to whole pictures, but one per identity.
        seed: of the choice, which also depends on the names.

    Raises:
        ValueError: the share is not more than 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; more than 0 and at most 1 expected")
    order = np.random.default_rng([seed, 0x5E7]).permutation(len(pictures)).tolist()
    seen: set[int] = set()
    first: list[int] = []
    rest: list[int] = []
    for number in order:
        identity = pictures[number].identity
        (rest if identity in seen else first).append(number)
        seen.add(identity)
    count = max(len(first), int(share * len(pictures) + 1e-9))
    return [pictures[number] for number in sorted([*first, *rest][:count])]


def market_name(identity: int, camera: int, frame: int, sequence: int = 1, box: int = 0) -> str:
    """A name as Market-1501's: ``0002_c1s1_000451_03.jpg``.

    Raises:
        ValueError: a number does not fit into the grammar.
    """
    if not (identity >= 0 and camera >= 1 and 0 <= frame <= 999_999 and 1 <= sequence <= 6 and 0 <= box <= 99):
        numbers = f"identity {identity}, camera {camera}, sequence {sequence}, frame {frame}, box {box}"
        raise ValueError(f"{numbers}: a name of Market-1501 cannot hold these")
    return f"{identity:04d}_c{camera}s{sequence}_{frame:06d}_{box:02d}.jpg"
