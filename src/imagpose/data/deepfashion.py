"""`imagpose prepare deepfashion`: the In-shop benchmark as the field uses it for pose transfer.

Source: facts about the data set, its lists and the field's scripts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagpose.data.counts import Count
from imagpose.data.deepfashion_names import FashionName, parse_name
from imagpose.data.info import DatasetInfo
from imagpose.data.notes import Problem
from imagpose.data.pairs import ViewPair, pairs_of_dataset, read_pairs, stored_pairs, write_pairs
from imagpose.data.prepare import Made, Person, make_views, write_dataset
from imagpose.data.records import ViewRecord, make_record
from imagpose.pictures import load_picture
from imagpose.pose import Pose, read_annotation_csv, read_pose
from imagpose.pose.detection import detect_pose, detecting_workers

FITS = ("resize", "crop")

SPLITS = ("train", "test")
PUBLISHED_PICTURES = {"train": 48_674, "test": 4_038}
PUBLISHED_PAIRS = {"train": 101_966, "test": 8_570}
_SQUARE = 256  # pixels: the centred pictures of img.zip, and the frame of most key points
_CROP = (40, 0, 216, 256)  # left, top, right, bottom: the part of the square that papers show
_ENDINGS = (".jpg", ".jpeg", ".png")
_FRAMES = ((256, 176), (256, 256))
_ASPECT_TOLERANCE = 0.05


def prepare_deepfashion(
    pictures: Path | str,
    lists: Path | str,
    out: Path | str,
    *,
    annotations: Sequence[Path | str] = (),
    poses: Path | str | None = None,
    detect: str | None = None,
    keypoint_frame: tuple[int, int] = (256, 176),
    fit: str = "resize",
    size: tuple[int, int] = (256, 176),
    pairs: Sequence[Path | str] = (),
    strict: bool = False,
    workers: int | None = None,
) -> tuple[DatasetInfo, list[Count]]:
    """Make a data set of DeepFashion In-shop, with `pairs-train.csv` and `pairs-test.csv`.

    Args:
        pictures: the raw tree (a folder above ``MEN/`` and ``WOMEN/``, such as ``img_highres``) or a folder of flat names.
        lists: folder with ``train.lst`` and ``test.lst``.
        out: folder of the data set.
        annotations: the field's key point CSVs (y first).
        poses: folder of PIDM's text files, in place of `annotations`.
        detect: what finds key points in the pictures, in place of both, see `pose.detection.open_detector`.
        keypoint_frame: height and width of the frame that key points are in: 256x176, or 256x256, of which
            the former is the middle.
        fit: "resize": high-resolution pictures are resized to `size` directly. "crop": the middle 176 columns of the centred
            256x256 pictures are taken.
        size: height and width of the views.
        pairs: the field's lists of pairs; those of a split without one are made by the four-joint rule.
        strict, workers: see `write_dataset`.

    Returns:
        The description of the data set, and counts beside the published ones.

    Raises:
        FileNotFoundError: a folder or a file is missing.
        ValueError: key points are given in no way or in several, a file does not fit, pictures of one name twice, or as
            `write_dataset` and `open_detector`.
        OSError: as `write_dataset` and `open_detector`.
    """
    root = Path(pictures)
    if not root.is_dir():
        raise FileNotFoundError(f"folder of pictures not found: {root}")
    ways = {"annotations": bool(annotations), "poses": poses is not None, "detected": detect is not None}
    if sum(ways.values()) != 1:
        raise ValueError(
            "key points are needed, in one way: --annotations (the field's CSV files), --poses (PIDM's folder of txt) or"
            " --detect"
        )
    if keypoint_frame not in _FRAMES:
        raise ValueError(f"key point frame is {keypoint_frame[0]}x{keypoint_frame[1]}; 256x176 or 256x256 expected")
    if fit not in FITS:
        raise ValueError(f"fit is {fit!r}; one of {', '.join(FITS)} expected")
    split_of = _read_lists(Path(lists))
    files = _find_pictures(root)
    points: Mapping[FashionName, Any] = dict.fromkeys(files)
    if detect is not None:
        workers = detecting_workers(detect, workers)
    else:
        points = _read_annotations(annotations, keypoint_frame) if annotations else _find_poses(Path(poses or ""))
    listed_pairs = _read_pair_lists(pairs, split_of)
    people, problems = _people(split_of, files, points)
    settings = {
        "command": "deepfashion",
        "fit": fit,
        "size": list(size),
        "keypoint_frame": list(keypoint_frame),
        "keypoints": next(way for way, is_given in ways.items() if is_given),
    }
    if detect is not None:
        settings["detector"] = detect
    make = partial(_make_person, root=root, poses=poses, detect=detect, frame=keypoint_frame, fit=fit, size=size)
    info = write_dataset(out, people, make, settings, problems=problems, strict=strict, workers=workers)
    stored = {split: info.splits[split].pictures if split in info.splits else 0 for split in SPLITS}
    counts = [Count(f"{split} pictures", stored[split], PUBLISHED_PICTURES[split]) for split in SPLITS]
    for split in SPLITS:
        found, note = _write_pairs(Path(out), info, split, listed_pairs.get(split))
        counts.append(Count(f"{split} pairs", len(found), PUBLISHED_PAIRS[split], note))
    return info, counts


def _read_lists(folder: Path) -> dict[FashionName, str]:
    """The split of every picture of the benchmark."""
    split_of: dict[FashionName, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.lst"
        if not path.is_file():
            raise FileNotFoundError(f"list of the {split} split not found: {path}")
        for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            name = parse_name(line.strip())
            if name is None:
                raise ValueError(f"{path}, line {number}: {line.strip()[:80]!r} is no name of DeepFashion In-shop")
            if split_of.setdefault(name, split) != split:
                raise ValueError(f"{path}, line {number}: {name.flat} stands in both lists")
    return split_of


def _find_pictures(root: Path) -> dict[FashionName, str]:
    """Path below `root` of every picture of the data set."""
    files: dict[FashionName, str] = {}
    for folder, folders, names in os.walk(root):
        folders.sort()
        for file in sorted(names):
            path = Path(folder, file)
            name = parse_name(path) if path.suffix.lower() in _ENDINGS else None
            if name is None:
                continue
            relative = path.relative_to(root).as_posix()
            if name in files:
                raise ValueError(
                    f"{name.flat} is there twice, as {files[name]} and {relative}: give the folder of one of them"
                )
            files[name] = relative
    if not files:
        raise ValueError(
            f"{root}: no pictures of DeepFashion In-shop; expected for example"
            " WOMEN/Tees_Tanks/id_00007838/05_7_additional.jpg or fashionWOMENTees_Tanksid0000783805_7additional.jpg"
        )
    return files


def _read_annotations(paths: Sequence[Path | str], frame: tuple[int, int]) -> dict[FashionName, list[list[float]]]:
    """Key points of the CSV files; a picture whose key points are all missing is not among them."""
    found: dict[FashionName, list[list[float]]] = {}
    for path in paths:
        for file, pose in read_annotation_csv(path, (frame[1], frame[0])).items():
            name = parse_name(file)
            if name is None:
                raise ValueError(f"{path}: {file[:80]!r} is no name of DeepFashion In-shop")
            found[name] = pose.keypoints.tolist()
    return found


def _find_poses(folder: Path) -> dict[FashionName, str]:
    """Path below `folder` of every text file of key points."""
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of key points not found: {folder}")
    paths = {parse_name(path): path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.txt"))}
    found = {name: path for name, path in paths.items() if name is not None}
    if not found:
        raise ValueError(f"{folder}: no text files with names of DeepFashion In-shop")
    return found


def _people(
    split_of: Mapping[FashionName, str],
    files: Mapping[FashionName, str],
    points: Mapping[FashionName, Any],
) -> tuple[list[Person], list[Problem]]:
    """The identities of both splits, every view with its file and where its key points are; and listed pictures without.

    Args:
        points: per picture its key points, the file of them, or None where they are to be detected.
    """
    views: dict[tuple[str, str], list[list[Any]]] = {}
    problems = []
    for name, split in sorted(split_of.items(), key=lambda item: (SPLITS.index(item[1]), item[0])):
        if name not in files:
            problems.append(Problem(name.flat, f"listed in {split}.lst, but there is no such picture"))
        elif name not in points:
            problems.append(
                Problem(files[name], "no key points: none found by the annotations' author, or not annotated")
            )
        else:
            views.setdefault((split, name.identity), []).append([files[name], name.view, points[name]])
    people = [Person(identity, split, tuple(entries)) for (split, identity), entries in views.items()]
    if not people:
        raise ValueError("no picture has a name in the lists, a file and key points: do the three belong together?")
    return people, problems


def _make_person(
    person: Person,
    root: Path,
    poses: Path | str | None,
    detect: str | None,
    frame: tuple[int, int],
    fit: str,
    size: tuple[int, int],
) -> Made:
    def make(file: str, entry: Any) -> ViewRecord:
        _, view, points = entry
        picture = load_picture(root / file)
        fitted = _fitted(picture, fit, size)
        if detect is not None:
            found = detect_pose(picture, detect)
            pose = found.resize(size[1], size[0]) if fit == "resize" else _in_view(found, size)
        elif poses is not None:
            pose = _in_view(read_pose(Path(poses) / points, frame=frame, units="pixels"), size)
        else:
            pose = _in_view(Pose(np.array(points, np.float32), frame[1], frame[0]), size)
        return make_record(fitted, pose, identity=person.identity, view=view, split=person.split, source_file=file)

    return make_views(person, root, itemgetter(0), make)


def _fitted(picture: Image.Image, fit: str, size: tuple[int, int]) -> Image.Image:
    height, width = size
    if fit == "crop":
        if picture.size != (_SQUARE, _SQUARE):
            raise ValueError(
                f"{picture.height}x{picture.width} pixels; --fit crop takes the 256x256 pictures of img.zip"
            )
        picture = picture.crop(_CROP)
    elif abs(picture.width * height / (picture.height * width) - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"{picture.height}x{picture.width} pixels would be squashed to {height}x{width}; --fit resize takes the pictures"
            " of img_highres.zip, --fit crop the square ones of img.zip"
        )
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.BICUBIC)


def _in_view(pose: Pose, size: tuple[int, int]) -> Pose:
    """A pose in one of the two frames of the field, in a view: the narrow frame is the middle of the square."""
    left, top, right, bottom = _CROP
    if pose.width == _SQUARE:
        pose = pose.crop(left, top, right - left, bottom - top)
    return pose.resize(size[1], size[0])


def _read_pair_lists(paths: Sequence[Path | str], split_of: Mapping[FashionName, str]) -> dict[str, list[ViewPair]]:
    """Pairs of the field's lists by split, named "<identity>/<view>"."""

    def our_name(file: str) -> str | None:
        name = parse_name(file)
        return None if name is None else f"{name.identity}/{name.view}"

    split_of_ours = {f"{name.identity}/{name.view}": split for name, split in split_of.items()}
    found: dict[str, list[ViewPair]] = {}
    for path in paths:
        for pair in read_pairs(path, our_name):
            splits = {split_of_ours.get(name) for name in pair}
            if len(splits) > 1 or None in splits:
                raise ValueError(f"{path}: {pair[0]} and {pair[1]} do not stand in one of the two splits")
            found.setdefault(splits.pop() or "", []).append(pair)
    return found


def _write_pairs(out: Path, info: DatasetInfo, split: str, listed: list[ViewPair] | None) -> tuple[list[ViewPair], str]:
    """Write the pairs of a split whose two pictures are stored; returns them and why their number may differ."""
    if split not in info.splits:
        return [], "no pictures"
    if listed is None:
        pairs, note = pairs_of_dataset(out, split), "made by the four-joint rule, not read from the published list"
    else:
        pairs, note = stored_pairs(listed, out, split), "pairs of pictures that were skipped are left out"
    write_pairs(pairs, out / f"pairs-{split}.csv")
    return pairs, note
