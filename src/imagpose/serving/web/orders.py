"""What a browser or a program asks for, checked: photos, poses and settings of one request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagpose.pose import Pose, PoseOptions, read_pose_file, to_openpose
from imagpose.pose.library import NamedPose, named_pose
from imagpose.serving.generate import check_request
from imagpose.serving.inputs import GenerateInputs, read_inputs
from imagpose.serving.settings import GenerateSettings, read_settings
from imagpose.serving.web.limits import Limits, inside

__all__ = ["Order", "Photo", "read_order"]

_LONGEST_FRAME = 8  # times its other side; a skeleton is drawn in its frame's shape
_PIXELS = PoseOptions(units="pixels")
_SETTINGS = (
    "scenario", "grid", "size", "samples", "background", "crop", "retarget", "steps", "guidance_scale", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """A photo of the person: its file, and its pose as OpenPose JSON where that is known."""

    path: str | Path
    pose: Any = None


@dataclass(frozen=True)
class Order:
    """A checked request.

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


def read_order(
    photos: Sequence[Photo],
    poses: Sequence[Any],
    asked: Mapping[str, Any],
    *,
    folder: Path,
    models: Collection[str],
    limits: Limits,
) -> Order:
    """Check a request.

    Args:
        photos: of one person, files inside `folder`.
        poses: target poses, parsed JSON of any kind that `pose.read_pose_file` knows, or names of the library.
        asked: "model", "units" of the poses, and settings: "scenario", "grid", "size" (256x176), "samples",
            "background", "crop", "retarget", "steps", "guidance_scale", "seed"; None and "" stand for the default.
        folder: where uploads lie.
        models: that may be asked for.
        limits: of all of it.

    Raises:
        ValueError: something is not legal; one line says what.
    """
    values = {name: value for name, value in asked.items() if value not in (None, "")}
    model, units = str(values.pop("model", next(iter(models)))), values.pop("units", None)
    if model not in models:
        raise ValueError(f"model {model!r}: one of {', '.join(models)} expected")
    settings = GenerateSettings.of(read_settings(values, _SETTINGS))
    limits.check_request(len(photos), len(poses), steps=settings.sampling.steps or 0, size=settings.size)
    if not photos:
        raise ValueError("no photo: add one, or choose a person")

    files = [inside(folder, photo.path) for photo in photos]
    for file in files:
        limits.check_photo(file)
    reading = PoseOptions(units=units)
    targets = [
        pose for number, value in enumerate(poses, 1) for pose in _poses(value, reading, f"target pose {number}")
    ]
    grid = settings.view_grid(len(files), len(targets))
    limits.check_request(poses=len(targets), pictures=len(targets) * settings.samples, views=grid.num_views)
    own: list[Pose] = []
    if all(photo.pose is not None for photo in photos):
        own = [_poses(photo.pose, reading, f"pose of photo {number}")[0] for number, photo in enumerate(photos, 1)]
    names = [f"target-{number}" for number in range(len(targets))]
    named = [NamedPose(name, "", "", pose) for name, pose in zip(names, targets, strict=True)]
    recorded = {
        "sources": [f"sources/{number}{file.suffix.lower()}" for number, file in enumerate(files)],
        "poses": [f"poses/{name}.json" for name in names],
        "source_poses": [f"poses/source-{number}.json" for number in range(len(own))],
    }
    # Never from a file that happens to lie beside an upload.
    read = read_inputs(files, named, own or [None] * len(files))
    inputs = replace(read, files=recorded, source_poses=read.source_poses if own else None)
    check_request(inputs, settings)
    return Order(inputs, tuple(files), model, settings)


def _poses(value: Any, reading: PoseOptions, name: str) -> list[Pose]:
    """Poses exactly as they come back from the OpenPose JSON that they are written as."""
    if isinstance(value, str) and (known := named_pose(value)) is not None:
        return [known.pose]
    if not isinstance(value, (dict, list)):
        raise ValueError(f"{name}: OpenPose JSON, any other JSON of key points, or a name of the library expected")
    try:
        found = read_pose_file(value, reading).poses
        for pose in found:
            if not 1 / _LONGEST_FRAME <= pose.width / pose.height <= _LONGEST_FRAME:
                raise ValueError(
                    f"a frame of {pose.height}x{pose.width}; one side at most {_LONGEST_FRAME} times the other"
                )
        return [read_pose_file(to_openpose(pose), _PIXELS).poses[0] for pose in found]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
