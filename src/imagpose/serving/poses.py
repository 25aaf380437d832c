"""`imagpose poses`: the library listed, files of key points drawn and converted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from imagpose.io import partial_file
from imagpose.outputs import check_new_file
from imagpose.pose import Pose, PoseOptions, draw_skeleton, read_pose_file, write_openpose_json
from imagpose.pose.library import NamedPose, library, named_poses, near_names
from imagpose.sheets import Cell, SheetSection, draw_sheet

_LONGEST_SIDE = 16_384


def list_poses(patterns: Sequence[str] = (), sheet: Path | None = None, overwrite: bool = False) -> list[NamedPose]:
    """The library's poses whose names the patterns fit, each once; all without a pattern.

    Args:
        patterns: such as "walk-*".
        sheet: PNG to write, with all of them drawn.
        overwrite: replace the file `sheet`.

    Raises:
        ValueError, OSError: a pattern fits no name, or `sheet` is no PNG, exists or cannot be written.
    """
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ValueError(f"{sheet}: a sheet is written as .png")
    if sheet is not None:
        check_new_file(sheet, overwrite)
    found: dict[str, NamedPose] = {} if patterns else dict(library())
    for pattern in patterns:
        fitting = named_poses(pattern)
        if not fitting:
            near = " or ".join(near_names(pattern))
            raise ValueError(f"{pattern!r} fits no pose of the library{f'; did you mean {near}?' if near else ''}")
        found |= {own.name: own for own in fitting}
    if sheet is not None:
        cells = [Cell([draw_skeleton(own.pose, 176, 256)], own.name) for own in found.values()]
        with partial_file(sheet) as partial:
            draw_sheet([SheetSection("poses of the library", cells)]).save(partial, format="PNG")
    return list(found.values())


def draw_file(
    file: Path, out: Path, size: tuple[int, int] | None, controlnet: bool, options: PoseOptions, overwrite: bool = False
) -> list[Path]:
    """Draw the skeleton of each pose in a file.

    Args:
        file: of key points, see `pose.read_pose_file`.
        out: PNG to write; several poses become ``<name>-1.png``, ...
        size: height and width; None: each pose's frame.
        controlnet: sticks of 4 pixels whatever the size, without smoothing, as ControlNet's own drawings have.
        options: what settles the reading.
        overwrite: replace what exists.

    Returns:
        The pictures written.

    Raises:
        ValueError, OSError: as `pose.read_pose_file`; `out` is no PNG, exists or cannot be written.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"{out}: a drawing is written as .png")
    if size is not None and not all(16 <= side <= _LONGEST_SIDE for side in size):
        raise ValueError(f"size is {size[0]}x{size[1]}; sides from 16 to {_LONGEST_SIDE:,} pixels expected (--size)")
    poses = _read(file, options)
    for pose in poses:
        if size is None and max(pose.height, pose.width) > _LONGEST_SIDE:
            raise ValueError(f"{file}: a frame of {pose.height}x{pose.width} is too large to be drawn: give a --size")
    names = (
        [out] if len(poses) == 1 else [out.with_name(f"{out.stem}-{n}{out.suffix}") for n in range(1, len(poses) + 1)]
    )
    for name in names:
        check_new_file(name, overwrite)
    for pose, name in zip(poses, names, strict=True):
        height, width = size or (pose.height, pose.width)
        with partial_file(name) as partial:
            draw_skeleton(pose, width, height, exact=controlnet).save(partial, format="PNG")
    return names


def convert_file(file: Path, out: Path, options: PoseOptions, overwrite: bool = False) -> Path:
    """Write the poses of a file as OpenPose JSON, several as a list with one entry a frame.

    Raises:
        ValueError, OSError: as `pose.read_pose_file`; `out` is no .json, exists (but for `overwrite`) or cannot be written.
    """
    if out.suffix.lower() != ".json":
        raise ValueError(f"{out}: poses are converted to OpenPose JSON, a .json")
    check_new_file(out, overwrite)
    poses = _read(file, options)
    write_openpose_json(poses[0] if len(poses) == 1 else poses, out)
    return out


def _read(file: Path, options: PoseOptions) -> list[Pose]:
    """The poses of a file, with a warning for each choice."""
    read = read_pose_file(file, options)
    for note in read.notes:
        warnings.warn(f"{file}: {note}", UserWarning, stacklevel=3)
    return read.poses
