"""`imagpose poses detect`: pictures to OpenPose JSON."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track

from imagpose.io import clear_left_overs, write_json, write_text
from imagpose.outputs import check_new_files, check_output_folder, staged_folder
from imagpose.pictures import PICTURE_ENDINGS, load_picture, picture_files
from imagpose.pose import Pose, to_openpose
from imagpose.pose.detection import DEFAULT_DETECTOR, open_detector

UNUSABLE = "unusable.txt"


@dataclass(frozen=True)
class Detected:
    """What was written.

    Attributes:
        files: poses, in the order of their pictures.
        unusable: pictures in which no pose was found.
    """

    files: list[Path]
    unusable: list[Path]


def detect_files(
    pictures: Sequence[Path | str],
    out: Path | str,
    detector: str = DEFAULT_DETECTOR,
    *,
    crops: bool = False,
    overwrite: bool = False,
) -> Detected:
    """Write the poses of the people in each picture, the largest first, in the picture's frame.

    Args:
        pictures: files, and folders of which all pictures are taken, those of inner folders too.
        out: folder for ``<name of the picture>.json``, below the same inner folders; nothing is written before all poses
            are found.
        detector: see `open_detector`.
        crops: the pictures are one person's crop each, as in re-identification sets: nobody is looked for, and those in
            which no pose is found are listed in ``unusable.txt`` instead of stopping everything.
        overwrite: replace files of an earlier call; those of others in `out` stay and are never replaced.

    Raises:
        ValueError, OSError: no pictures, one that is not there, two of one name, a file that exists, no pose is found in any
            of them, the only one cannot be read, `out` cannot be written, or as `open_detector`.

    Warns:
        UserWarning: for each picture that shows several people, for each of several that cannot be read, and (without
            `crops`) for each of several that shows nobody; the last two are left out.
    """
    sources, out = _sources(pictures), Path(out)
    clear_left_overs(out)
    check_output_folder(out)
    check_new_files(out, [*sources, *([UNUSABLE] if crops else [])], overwrite)
    found = open_detector(detector)
    files: list[Path] = []
    unusable: list[Path] = []
    console = Console(stderr=True)
    with staged_folder(out, overwrite) as stage:
        bar = track(sources.items(), "poses", console=console, transient=True, disable=not console.is_terminal)
        for name, source in bar:
            try:
                people = _people(source, found.in_crop if crops else found.people)
            except (OSError, ValueError) as error:
                if len(sources) == 1:
                    raise
                unusable.append(source)
                warnings.warn(f"{error}; left out", UserWarning, stacklevel=2)
                continue
            if not people:
                unusable.append(source)
                if not crops and len(sources) > 1:
                    warnings.warn(f"{source}: nobody was found in the picture; left out", UserWarning, stacklevel=2)
                continue
            files.append(out / name)
            result = to_openpose(people[0])
            result["people"] += [person for pose in people[1:] for person in to_openpose(pose)["people"]]
            write_json(stage / name, result, indent=None)
        if len(unusable) == len(sources):
            raise ValueError(_nobody(unusable, crops))
        if unusable and crops:
            write_text(stage / UNUSABLE, "".join(f"{source}\n" for source in unusable))
    return Detected(files, unusable)


def _sources(pictures: Sequence[Path | str]) -> dict[str, Path]:
    """Pictures by the name of the file that becomes of them."""
    sources: dict[str, Path] = {}
    for given in map(Path, pictures):
        if not given.exists():
            raise FileNotFoundError(f"picture not found: {given}")
        folder, files = (given, picture_files(given.rglob("*"))) if given.is_dir() else (given.parent, [given])
        if not files:
            raise ValueError(f"{given}: no pictures in this folder ({', '.join(PICTURE_ENDINGS)})")
        for file in files:
            name = file.relative_to(folder).with_suffix(".json").as_posix()
            if name in sources:
                raise ValueError(f"{file}: another picture has the same name, {name} would be written twice")
            sources[name] = file
    if not sources:
        raise ValueError("no picture given; at least one is needed")
    return sources


def _nobody(pictures: list[Path], crops: bool) -> str:
    """The message where no picture shows anybody."""
    if crops:
        return f"no pose was found in any of {len(pictures)} crops"
    where = f"{pictures[0]}: nobody was found in the picture"
    if len(pictures) > 1:
        where = f"nobody was found in any of {len(pictures)} pictures"
    return f"{where}; --crops does not look for a person"


def _people(source: Path, find: Callable[[Image.Image], list[Pose] | Pose | None]) -> list[Pose]:
    found = find(load_picture(source))
    people = found if isinstance(found, list) else [found] if found is not None else []
    if len(people) > 1:
        note = f"{source}: {len(people)} people in the picture; all are written, the largest first"
        warnings.warn(note, UserWarning, stacklevel=2)
    return people
