"""`imagpose prepare market1501`: the re-identification set as the field uses it for pose transfer.

Source: facts about the data set, its annotations and the field's pair rule, which is exact: with all key points it gives the
published 263,632 pairs for training and, sampled, the published 12,000 for testing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagpose.data.counts import Count
from imagpose.data.info import DatasetInfo
from imagpose.data.notes import Problem
from imagpose.data.pairs import ViewPair, pairs_by_rule, pairs_of_dataset, sample_pairs, stored_pairs, write_pairs
from imagpose.data.prepare import Made, Person, make_views, write_dataset
from imagpose.data.records import ViewRecord, make_record
from imagpose.pictures import load_picture
from imagpose.pose import Pose, read_annotation_csv
from imagpose.pose.detection import detect_pose, detecting_workers

FOLDERS = {"train": "bounding_box_train", "test": "bounding_box_test"}
PUBLISHED_PICTURES = {"train": 12_936, "test": 19_732}
PUBLISHED_PAIRS = {"train": 263_632, "test": 12_000}
PUBLISHED_LEFT_OUT = {"-1": 3_819, "0000": 2_798}
_QUERY, _PUBLISHED_QUERIES = "query", 3_368
_HEIGHT, _WIDTH = 128, 64
_NAME = re.compile(r"(-?\d{1,4})_c([1-6])s([1-6])_(\d{6})_(\d{2})\.jpg(\.jpg)?")
_NOBODY = {"-1": "junk", "0000": "a distractor"}


class MarketName:
    """What a picture's name says; the grammar fits all names of the set, also the 18 that end with .jpg.jpg."""

    def __init__(self, file: str) -> None:
        """Read a file name.

        Raises:
            ValueError: it is no name of Market-1501.
        """
        found = _NAME.fullmatch(file)
        if found is None:
            raise ValueError(f"{file[:80]!r} is no name of Market-1501, such as 0002_c1s1_000451_03.jpg")
        self.person = found[1]
        """Number of the person; "-1" is junk, "0000" a distractor."""
        self.view = f"c{found[2]}s{found[3]}_{found[4]}_{found[5]}"

    @property
    def shows_somebody(self) -> bool:
        """Whether it is neither junk nor a distractor."""
        return self.person not in _NOBODY


def market_pairs(annotations: Path | str, split: str) -> list[tuple[str, str]]:
    """The published pairs of file names of a split, from its annotations alone.

    The four-joint rule, within persons in the order in which they first come; for "test" the sample of 12,000.

    Raises:
        FileNotFoundError, ValueError: see `read_annotation_csv`; or fewer pairs than the sample needs.
    """
    poses = read_annotation_csv(annotations, (_WIDTH, _HEIGHT))
    named = ((MarketName(file), file, pose.keypoints) for file, pose in poses.items())
    pairs = pairs_by_rule((name.person, file, points) for name, file, points in named if name.shows_somebody)
    return pairs if split == "train" else sample_pairs(pairs, PUBLISHED_PAIRS["test"])


def prepare_market1501(
    root: Path | str,
    out: Path | str,
    *,
    train_annotations: Path | str | None = None,
    test_annotations: Path | str | None = None,
    detect: str | None = None,
    size: tuple[int, int] = (_HEIGHT, _WIDTH),
    strict: bool = False,
    workers: int | None = None,
) -> tuple[DatasetInfo, list[Count]]:
    """Make a data set of Market-1501, with `pairs-train.csv` and `pairs-test.csv`.

    Junk (-1) and distractors (0000) show nobody who could be a source or a target: they are counted and left out.

    Args:
        root: folder with ``bounding_box_train`` and ``bounding_box_test``.
        out: folder of the data set.
        train_annotations, test_annotations: the field's key point CSVs; without the second only the training split is made.
        detect: what finds key points in the pictures of both splits, see `pose.detection.open_detector`, in place of the
            CSVs. Pairs are then made by the rule from what was found, so they are not the published ones.
        size: height and width of the views.
        strict, workers: see `write_dataset`.

    Returns:
        The description of the data set, and counts beside the published ones.

    Raises:
        FileNotFoundError: a folder or a file is missing.
        ValueError: key points are given in no way or in two, a file does not fit, or as `write_dataset` and
            `open_detector`.
        OSError: as `write_dataset` and `open_detector`.
    """
    root, out = Path(root), Path(out)
    if (detect is None) == (train_annotations is None) or (detect is not None and test_annotations is not None):
        raise ValueError("key points are needed, in one way: --train-annotations (the field's CSV) or --detect")
    given = {"train": train_annotations, "test": test_annotations}
    # The splits to make: those with annotations, or both to detect key points in.
    annotations = {split: path for split, path in given.items() if path is not None or detect is not None}
    people: list[Person] = []
    problems: list[Problem] = []
    counts: list[Count] = []
    for split, path in annotations.items():
        folder = root / FOLDERS[split]
        if not folder.is_dir():
            raise FileNotFoundError(f"folder of pictures not found: {folder}")
        files = sorted(_pictures(folder))
        poses = dict.fromkeys(files) if path is None else _read_points(path)
        found, unfit, left_out = _people(split, files, poses)
        people += found
        problems += unfit
        counts.append(Count(f"{FOLDERS[split]} files", len(files), PUBLISHED_PICTURES[split]))
        if split == "test":
            counts += [
                Count(f"left out: {_NOBODY[person]} ({person})", left_out[person], number)
                for person, number in PUBLISHED_LEFT_OUT.items()
            ]
    if (root / _QUERY).is_dir():
        counts.append(Count("query files (not used for pairs)", len(_pictures(root / _QUERY)), _PUBLISHED_QUERIES))
    settings: dict[str, Any] = {"command": "market1501", "size": list(size), "splits": list(annotations)}
    if detect is not None:
        settings["keypoints"] = "detected"
        settings["detector"] = detect
        workers = detecting_workers(detect, workers)
    make = partial(_make_person, root=root, size=size, detect=detect)
    info = write_dataset(out, people, make, settings, problems=problems, strict=strict, workers=workers)
    return info, counts + [_write_pairs(out, split, path) for split, path in annotations.items()]


def _pictures(folder: Path) -> list[str]:
    """Names of the pictures in a folder; not those of hidden files, such as macOS's archives leave (``._0002_...``)."""
    return [path.name for path in folder.iterdir() if path.suffix == ".jpg" and not path.name.startswith(".")]


def _read_points(path: Path | str) -> dict[str, Any]:
    return {file: pose.keypoints.tolist() for file, pose in read_annotation_csv(path, (_WIDTH, _HEIGHT)).items()}


def _people(
    split: str, files: Sequence[str], poses: Mapping[str, Any]
) -> tuple[list[Person], list[Problem], dict[str, int]]:
    """Persons with their views (file, key points); pictures that cannot be used; counts of those that show nobody.

    Args:
        poses: per picture its key points, or None where they are to be detected.
    """
    views: dict[str, list[list[Any]]] = {}
    problems = []
    left_out = dict.fromkeys(_NOBODY, 0)
    for file in files:
        shown = f"{FOLDERS[split]}/{file}"
        try:
            name = MarketName(file)
        except ValueError as error:
            problems.append(Problem(shown, str(error)))
            continue
        if not name.shows_somebody:
            left_out[name.person] += 1
        elif file not in poses:
            problems.append(Problem(shown, "no key points: none found by the annotations' author, or not annotated"))
        else:
            views.setdefault(name.person, []).append([file, poses[file]])
    problems += [
        Problem(f"{FOLDERS[split]}/{file}", "annotated, but there is no such picture")
        for file in sorted(set(poses) - set(files))
        if MarketName(file).shows_somebody
    ]
    if not views:
        raise ValueError(
            f"{FOLDERS[split]}: no picture of a person with key points; do folder and annotations belong together?"
        )
    return [Person(person, split, tuple(entries)) for person, entries in views.items()], problems, left_out


def _make_person(person: Person, root: Path, size: tuple[int, int], detect: str | None) -> Made:
    def make(file: str, entry: Any) -> ViewRecord:
        name, points = entry
        picture = load_picture(root / file)
        if picture.size != (_WIDTH, _HEIGHT):
            raise ValueError(f"{picture.height}x{picture.width} pixels; all pictures of Market-1501 have 128x64")
        pose = (
            detect_pose(picture, detect) if detect is not None else Pose(np.array(points, np.float32), _WIDTH, _HEIGHT)
        )
        if size != (_HEIGHT, _WIDTH):
            picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
            pose = pose.resize(size[1], size[0])
        view = MarketName(name).view
        return make_record(picture, pose, identity=person.identity, view=view, split=person.split, source_file=file)

    return make_views(person, root, lambda entry: f"{FOLDERS[person.split]}/{entry[0]}", make)


def _write_pairs(out: Path, split: str, annotations: Path | str | None) -> Count:
    """Write the published pairs whose two pictures are stored; a test split too small for the sample keeps all its pairs."""
    if annotations is not None:
        pairs, note = _published_pairs(out, split, annotations)
    else:
        pairs = pairs_of_dataset(out, split)
        note = "by the four-joint rule from detected key points, so not the published pairs"
        if split == "test" and len(pairs) > PUBLISHED_PAIRS["test"]:
            pairs = sample_pairs(pairs, PUBLISHED_PAIRS["test"])
    write_pairs(pairs, out / f"pairs-{split}.csv")
    return Count(f"{split} pairs", len(pairs), PUBLISHED_PAIRS[split], note)


def _published_pairs(out: Path, split: str, annotations: Path | str) -> tuple[list[ViewPair], str]:
    try:
        published = [(_our_name(source), _our_name(target)) for source, target in market_pairs(annotations, split)]
    except ValueError:
        return pairs_of_dataset(out, split), "too few pictures for the sample: all pairs by the four-joint rule"
    return stored_pairs(published, out, split), "pairs of skipped pictures are left out"


def _our_name(file: str) -> str:
    name = MarketName(file)
    return f"{name.person}/{name.view}"
