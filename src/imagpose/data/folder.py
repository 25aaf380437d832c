"""`imagpose prepare folder`: one folder per identity with pictures and their poses. Source: own.

    PICTURES/<identity>/<view>.png (or .jpg, .webp, ...)
    PICTURES/<identity>/<view>.json or <view>.txt           the pose, see `pose.read_pose`
    PICTURES/<identity>/<view>_mask.png                     white on the person (optional)

What `imagpose people` writes is such a folder.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from imagpose.data.info import DatasetInfo
from imagpose.data.notes import Problem
from imagpose.data.prepare import Made, Person, make_views, write_dataset
from imagpose.data.records import ViewRecord, make_record
from imagpose.pictures import load_picture
from imagpose.pose import read_pose
from imagpose.pose.detection import detect_pose, detecting_workers

_READ = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_NOT_READ = (".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".svg", ".raw", ".dng", ".psd")
_POSES = (".json", ".txt")
_MASK = "_mask"
_NO_POSE = (
    "no pose: a file of the same name with .json (OpenPose) or .txt (18 lines x y) is needed beside the picture, or"
    " --detect"
)
_ORIENTATION = 0x0112  # EXIF


def prepare_folder(
    pictures: Path | str,
    out: Path | str,
    *,
    size: tuple[int, int] | None = None,
    test_fraction: float = 0.0,
    detect: str | None = None,
    strict: bool = False,
    workers: int | None = None,
) -> DatasetInfo:
    """Make a data set of a folder with one folder per identity.

    Args:
        pictures: the folder, see above. Hidden files are left alone.
        out: folder of the data set.
        size: height and width that each view is brought to (`pictures.fit_view`) and stored as PNG; None keeps pictures
            as they are: the bytes of PNG and JPEG files, other formats as PNG.
        test_fraction: share of the identities that becomes split "test", chosen by a hash of their names; the others
            are "train".
        detect: what finds the poses of pictures that have none beside them, see `pose.detection.open_detector`; None
            leaves these out.
        strict, workers: see `write_dataset`; on a GPU one process works where no number is given.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no identity in it, `out` inside it, a number out of its range, or as `write_dataset` and
            `open_detector`.
        OSError: as `write_dataset` and `open_detector`.
    """
    root, out = Path(pictures), Path(out)
    if not root.is_dir():
        raise FileNotFoundError(f"folder of pictures not found: {root}")
    if root.resolve() in (out.resolve(), *out.resolve().parents):
        raise ValueError(f"{out} lies inside of the pictures' folder {root}: choose another one")
    if size is not None and not all(16 <= side <= 4096 for side in size):
        raise ValueError(f"size is {size[0]}x{size[1]}; each side must have 16 to 4096 pixels")
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test fraction is {test_fraction}; at least 0 and less than 1 expected")
    people, problems = _list_people(root, test_fraction)
    if not people:
        raise ValueError(f"{root}: no folder with pictures in it; one folder per identity expected")
    settings: dict[str, Any] = {"command": "folder", "size": size, "test_fraction": test_fraction}
    if detect is not None:
        settings["keypoints"] = "beside the pictures, else detected"
        settings["detector"] = detect
        workers = detecting_workers(detect, workers)
    make = partial(_make_person, root=root, size=size, detect=detect)
    return write_dataset(out, people, make, settings, problems=problems, strict=strict, workers=workers)


def _list_people(root: Path, test_fraction: float) -> tuple[list[Person], list[Problem]]:
    """The identities with their views (picture, pose, mask: file names or None), by name; and what fits nowhere."""
    entries, problems = _entries(root, "")
    people = []
    for folder in entries:
        if folder.is_dir():
            views, found = _list_views(folder)
            problems += found
            if views:
                people.append(Person(folder.name, _split_of(folder.name, test_fraction), tuple(views)))
        elif _has(folder.name, (*_READ, *_NOT_READ)):
            problems.append(Problem(folder.name, "a picture outside of the folders of identities"))
    return people, problems


def _split_of(identity: str, test_fraction: float) -> str:
    share = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    return "test" if share < test_fraction else "train"


def _list_views(folder: Path) -> tuple[list[tuple[str, str | None, str | None]], list[Problem]]:
    entries, problems = _entries(folder, f"{folder.name}/")
    files = {path.stem + path.suffix.lower(): path.name for path in entries if path.is_file()}
    stems = {os.path.splitext(key)[0] for key in files if _has(key, _READ)}
    views, taken = [], set()
    for path in entries:
        file = f"{folder.name}/{path.name}"
        if path.is_dir():
            if any(_has(inner.name, _READ) for inner in path.rglob("*")):
                problems.append(Problem(file, "pictures in a folder inside of an identity's folder"))
        elif _has(path.name, _NOT_READ):
            problems.append(Problem(file, f"format not read, only {', '.join(_READ)}"))
        elif _has(path.name, _READ) and not _is_mask(path, stems):
            if path.stem in taken:
                problems.append(Problem(file, "another picture of this identity has the same name"))
                continue
            taken.add(path.stem)
            pose = next((files[path.stem + suffix] for suffix in _POSES if path.stem + suffix in files), None)
            views.append((path.name, pose, files.get(f"{path.stem}{_MASK}.png")))
    return views, problems


def _is_mask(path: Path, stems: set[str]) -> bool:
    return _has(path.name, (".png",)) and path.stem.endswith(_MASK) and path.stem[: -len(_MASK)] in stems


def _entries(folder: Path, prefix: str) -> tuple[list[Path], list[Problem]]:
    """What a folder holds, by name, without hidden files; and the names that are no text."""
    entries, problems = [], []
    for path in sorted(folder.iterdir()):
        text = path.name.encode("utf-8", "backslashreplace").decode()
        if text != path.name:
            problems.append(Problem(prefix + text, "the name is not valid UTF-8"))
        elif not path.name.startswith((".", "__MACOSX")):
            entries.append(path)
    return entries, problems


def _has(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes)


def _make_person(person: Person, root: Path, size: tuple[int, int] | None, detect: str | None) -> Made:
    folder = root / person.identity

    def make(file: str, view: Any) -> ViewRecord:
        name, pose_name, mask_name = view
        picture = load_picture(folder / name)
        if pose_name is not None:
            pose = read_pose(folder / pose_name, picture=(picture.height, picture.width))
        elif detect is not None:
            pose = detect_pose(picture, detect)
        else:
            raise ValueError(_NO_POSE)
        mask = None if mask_name is None else load_picture(folder / mask_name)
        return make_record(
            picture,
            pose,
            identity=person.identity,
            view=os.path.splitext(name)[0],
            split=person.split,
            source_file=file,
            mask=mask,
            size=size,
            encoded=_as_stored(folder / name),
        )

    return make_views(person, root, lambda view: f"{person.identity}/{view[0]}", make)


def _as_stored(path: Path) -> bytes | None:
    """The bytes of a PNG or JPEG file which every reader decodes to the same RGB picture as `load_picture`."""
    with Image.open(path) as picture:
        is_upright = picture.getexif().get(_ORIENTATION, 1) == 1
        is_plain = picture.mode == "RGB" and not picture.has_transparency_data and is_upright
        return path.read_bytes() if picture.format in ("PNG", "JPEG") and is_plain else None
