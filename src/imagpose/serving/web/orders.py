"""What a browser or a program asks for, checked: photos, poses and settings of one request, for pictures or for a film."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagpose.films import FILM_FORMATS, check_film, clip_rate, clip_shape, is_clip
from imagpose.pictures import PICTURE_ENDINGS, parse_size
from imagpose.pose import Pose, PoseOptions, read_pose_file, to_openpose
from imagpose.pose.library import library
from imagpose.serving.animate import check_sequence
from imagpose.serving.film_places import FilmPlaces
from imagpose.serving.framing import check_detector
from imagpose.serving.generate import check_request
from imagpose.serving.inputs import GenerateInputs, Targets, read_inputs
from imagpose.serving.sequences import PoseSequence, read_sequence
from imagpose.serving.settings import AnimateSettings, GenerateSettings, read_settings
from imagpose.serving.web.limits import Limits, inside

_LONGEST_FRAME = 8  # times its other side; a skeleton is drawn in its frame's shape
_PIXELS = PoseOptions(units="pixels")
_SETTINGS = (
    "scenario", "grid", "size", "samples", "background", "crop", "retarget", "mark", "steps", "guidance_scale", "seed",
)  # fmt: skip
FILM_SETTINGS = (
    "between", "fps", "smooth", "overlap", "grid", "size", "crop", "retarget", "mark", "steps", "guidance_scale", "seed",
)  # fmt: skip
SEQUENCE = "poses/sequence.json"  # beside the result


@dataclass(frozen=True)
class Photo:
    """A photo of the person: its file, and its pose as OpenPose JSON where that is known."""

    path: str | Path
    pose: Any = None


@dataclass(frozen=True)
class Order:
    """A checked request for pictures.

    Attributes:
        inputs: as `generate_inputs` takes them; `files` has the names that the files get beside the result.
        photos: the files of the sources, in their order.
        model: one of those that the page offers.
        settings: as of the command line.
    """

    inputs: GenerateInputs
    photos: tuple[Path, ...]
    model: str
    settings: GenerateSettings


@dataclass(frozen=True)
class FilmOrder:
    """A checked request for a film.

    Attributes:
        inputs, photos, model: as of `Order`; `inputs` has no target poses.
        sequence: as it was read; or a clip, whose poses are found when the request is worked on.
        settings: as of the command line.
        name: of the film's file.
    """

    inputs: GenerateInputs
    photos: tuple[Path, ...]
    model: str
    sequence: PoseSequence | Path
    settings: AnimateSettings
    name: str


def read_order(
    photos: Sequence[Photo],
    poses: Sequence[Any],
    asked: Mapping[str, Any],
    *,
    folder: Path,
    models: Collection[str],
    limits: Limits,
) -> Order:
    """Check a request for pictures.

    Args:
        photos: of one person, files inside `folder`.
        poses: target poses, parsed JSON of any kind that `pose.read_pose_file` knows, or names of the library.
        asked: "model", "units" of the poses, and settings: "scenario", "grid", "size" (256x176), "samples",
            "background", "crop", "retarget", "mark", "steps", "guidance_scale", "seed"; None and "" stand for the default.
        folder: where uploads lie.
        models: that may be asked for.
        limits: of all of it.

    Raises:
        ValueError: something is not legal; one line says what.
    """
    model, reading, values = _split(asked, models)
    settings = GenerateSettings.of(read_settings(values, _SETTINGS))
    limits.check_request(len(photos), len(poses), steps=settings.sampling.steps or 0, size=settings.size)
    files, own = _sources(photos, reading, folder, limits)
    targets = _targets(poses, reading)
    grid = settings.view_grid(len(files), len(targets))
    limits.check_request(poses=len(targets), pictures=len(targets) * settings.samples, views=grid.num_views)
    if not targets:
        raise ValueError("no target pose: give at least one")
    names = [f"target-{number}" for number in range(len(targets))]
    inputs = _inputs(files, own, Targets(names, targets, [f"poses/{name}.json" for name in names], []))
    check_request(inputs, settings)
    return Order(inputs, tuple(files), model, settings)


def read_film_order(
    photos: Sequence[Photo],
    poses: Sequence[Any],
    file: str | Path | None,
    asked: Mapping[str, Any],
    *,
    folder: Path,
    models: Collection[str],
    limits: Limits,
) -> FilmOrder:
    """Check a request for a film.

    Args:
        photos, poses, folder, models, limits: as of `read_order`; a pose whose frame has another size than the first one's
            is fitted into that.
        file: in place of `poses`: a file of frames or a clip inside `folder`.
        asked: "model", "format" (mp4 or gif), "units" and "frame" (1080x1920) of the poses, and settings: "between",
            "fps", "smooth", "overlap", "grid", "size", "crop", "retarget", "mark", "steps", "guidance_scale", "seed"; None
            and "" stand for the default.

    Raises:
        ValueError: something is not legal; one line says what.
    """
    model, reading, values = _split(asked, models)
    ending = f".{values.pop('format', 'mp4')}"
    if ending not in FILM_FORMATS:
        raise ValueError(f"format {ending[1:]!r}: one of {', '.join(own[1:] for own in FILM_FORMATS)} expected")
    settings = AnimateSettings.of(read_settings(values, FILM_SETTINGS))
    drawing, name = settings.drawing, f"film{ending}"
    limits.check_request(len(photos), len(poses), steps=drawing.sampling.steps or 0, size=drawing.size)
    files, own = _sources(photos, reading, folder, limits)
    if poses and file is not None:
        raise ValueError("target poses and a sequence: give one of them")
    sequence = _strip(poses, reading) if file is None else read_film_poses(inside(folder, file), reading, limits)
    inputs = _inputs(files, own, Targets([], [], [], []))
    limits.check_request(views=drawing.view_grid(len(files), limits.frames).num_views)
    if isinstance(sequence, PoseSequence):
        if len(sequence.poses) < 2:
            raise ValueError("one pose makes no film: give at least two, or a file of frames or a clip")
        limits.check_request(frames=(len(sequence.poses) - 1) * (settings.between + 1) + 1)
        check_sequence(inputs, sequence.filled(settings.between), settings, FilmPlaces(folder / name))
    else:
        check_film(Path(name), settings.fps or clip_rate(sequence))
    return FilmOrder(inputs, tuple(files), model, sequence, settings, name)


def read_film_poses(file: Path, reading: PoseOptions, limits: Limits) -> PoseSequence | Path:
    """The sequence in a file of frames; or a clip, looked at from outside.

    Raises:
        ValueError: it is neither, or too large or too long.
    """
    limits.check_file(file)
    if is_clip(file):
        check_detector()
        frames, height, width = clip_shape(file)
        limits.check_pixels(file, height, width)
        limits.check_request(frames=frames or 0)
        _check_shape(height, width)
        return file
    if file.suffix.lower() in PICTURE_ENDINGS:
        raise ValueError(f"{file.name}: a picture; a file of frames or a clip expected")
    sequence = read_sequence([file], reading)
    limits.check_request(frames=len(sequence.poses))
    for pose in sequence.poses:
        if pose is not None:
            _check_shape(pose.height, pose.width)
    return sequence


def _split(asked: Mapping[str, Any], models: Collection[str]) -> tuple[str, PoseOptions, dict[str, Any]]:
    """The model, how poses are read, and the settings among what is asked for."""
    values = {name: value for name, value in asked.items() if value not in (None, "")}
    model = str(values.pop("model", next(iter(models))))
    if model not in models:
        raise ValueError(f"model {model!r}: one of {', '.join(models)} expected")
    frame = values.pop("frame", None)
    return model, PoseOptions(values.pop("units", None), None if frame is None else parse_size(str(frame))), values


def _sources(
    photos: Sequence[Photo], reading: PoseOptions, folder: Path, limits: Limits
) -> tuple[list[Path], list[Pose]]:
    """The photos' files, and their poses where those of all are known."""
    if not photos:
        raise ValueError("no photo: add one, or choose a person")
    files = [inside(folder, photo.path) for photo in photos]
    for file in files:
        limits.check_photo(file)
    if any(photo.pose is None for photo in photos):
        return files, []
    reading = replace(reading, frame=None)
    return files, [_poses(photo.pose, reading, f"pose of photo {number}")[0] for number, photo in enumerate(photos, 1)]


def _inputs(files: Sequence[Path], own: Sequence[Pose], targets: Targets) -> GenerateInputs:
    """Read the photos; the record names all files as they lie beside the result."""
    names = {
        "sources": [f"sources/{number}{file.suffix.lower()}" for number, file in enumerate(files)],
        "poses": targets.origins,
        "source_poses": [f"poses/source-{number}.json" for number in range(len(own))],
    }
    # Never a pose from a file that happens to lie beside an upload.
    read = read_inputs(files, targets, own or [None] * len(files))
    return replace(read, files=names, source_poses=read.source_poses if own else None)


def _targets(poses: Sequence[Any], reading: PoseOptions) -> list[Pose]:
    return [pose for number, value in enumerate(poses, 1) for pose in _poses(value, reading, f"target pose {number}")]


def _strip(poses: Sequence[Any], reading: PoseOptions) -> PoseSequence:
    """The target poses as a sequence, in a frame of one size as generated pictures have: the first one's."""
    found = _targets(poses, reading)
    if not found:
        raise ValueError("no target pose: give at least two, or a file of frames or a clip")
    width, height = found[0].width, found[0].height
    same = [pose if (pose.width, pose.height) == (width, height) else pose.fit(width, height) for pose in found]
    return PoseSequence(list(same), None, ["target poses"], [])


def _poses(value: Any, reading: PoseOptions, name: str) -> list[Pose]:
    """Poses exactly as they come back from the OpenPose JSON that they are written as."""
    if isinstance(value, str) and (known := library().get(value)) is not None:
        return [known.pose]
    if not isinstance(value, (dict, list)):
        raise ValueError(f"{name}: OpenPose JSON, any other JSON of key points, or a name of the library expected")
    try:
        found = read_pose_file(value, reading).poses
        for pose in found:
            _check_shape(pose.height, pose.width)
        return [read_pose_file(to_openpose(pose), _PIXELS).poses[0] for pose in found]
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).removeprefix('pose: ')}") from None


def _check_shape(height: int, width: int) -> None:
    if not 1 / _LONGEST_FRAME <= width / height <= _LONGEST_FRAME:
        raise ValueError(f"a frame of {height}x{width}; one side at most {_LONGEST_FRAME} times the other")
