"""`imagpose poses`: files of key points shown, drawn and converted; poses found in photos."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from imagpose.io import check_output_folder, partial_file, staged_folder
from imagpose.pictures import load_picture
from imagpose.pose import Pose, PoseOptions, draw_skeleton, read_pose_file, write_openpose_json
from imagpose.pose.detection import PoseDetector

__all__ = ["convert_file", "detect_files", "draw_file", "show_file"]

_LONGEST_SIDE = 16_384


def show_file(file: Path, options: PoseOptions) -> list[str]:
    """What is read from a file, in lines; see `pose.read_pose_file` for arguments and errors."""
    return read_pose_file(file, options).lines()


def draw_file(
    file: Path, out: Path, size: tuple[int, int] | None, controlnet: bool, options: PoseOptions
) -> list[Path]:
    """Draw the skeleton of each pose in a file.

    Args:
        file: of key points, see `pose.read_pose_file`.
        out: PNG to write; several poses become ``<name>-1.png``, ...
        size: height and width; None: each pose's frame.
        controlnet: sticks of 4 pixels whatever the size, without smoothing, as ControlNet's own drawings have.
        options: what settles the reading.

    Returns:
        The pictures written.

    Raises:
        ValueError, OSError: as `pose.read_pose_file`; `out` is no PNG or cannot be written.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"{out}: a drawing is written as .png")
    if size is not None and not all(16 <= side <= _LONGEST_SIDE for side in size):
        raise ValueError(f"size is {size[0]}x{size[1]}; sides from 16 to {_LONGEST_SIDE:,} pixels expected (--size)")
    poses = _read(file, options)
    names = (
        [out] if len(poses) == 1 else [out.with_name(f"{out.stem}-{n}{out.suffix}") for n in range(1, len(poses) + 1)]
    )
    for pose, name in zip(poses, names, strict=True):
        height, width = size or (pose.height, pose.width)
        with partial_file(name) as partial:
            draw_skeleton(pose, width, height, exact=controlnet).save(partial, format="PNG")
    return names


def convert_file(file: Path, out: Path, options: PoseOptions) -> Path:
    """Write the poses of a file as OpenPose JSON, several as a list with one entry a frame.

    Raises:
        ValueError, OSError: as `pose.read_pose_file`; `out` is no .json or cannot be written.
    """
    if out.suffix.lower() != ".json":
        raise ValueError(f"{out}: poses are converted to OpenPose JSON, a .json")
    poses = _read(file, options)
    write_openpose_json(poses[0] if len(poses) == 1 else poses, out)
    return out


def _read(file: Path, options: PoseOptions) -> list[Pose]:
    """The poses of a file, with a warning for each choice."""
    read = read_pose_file(file, options)
    for note in read.notes:
        warnings.warn(f"{file}: {note}", UserWarning, stacklevel=3)
    return read.poses


def detect_files(pictures: Sequence[Path | str], out: Path | str, device: str = "cpu") -> list[Path]:
    """Write the pose of the largest person in each picture, in the picture's frame.

    Args:
        pictures: files.
        out: folder for ``<name of the picture>.json``; nothing is written before all poses are found.
        device: see `PoseDetector`.

    Returns:
        The files, in the order of the pictures.

    Raises:
        ValueError, OSError: no pictures, two of one name, one that cannot be read or shows nobody, `out` cannot be
            written, or as `PoseDetector`.
    """
    sources, out = [Path(picture) for picture in pictures], Path(out)
    if not sources:
        raise ValueError("no picture given; at least one is needed")
    check_output_folder(out)
    names = [f"{source.stem}.json" for source in sources]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"{sources[number]}: another picture has the same name, {name} would be written twice")
    loaded = [load_picture(source) for source in sources]
    detector = PoseDetector(device)
    poses: list[Pose] = []
    for source, picture in zip(sources, loaded, strict=True):
        try:
            poses.append(detector(picture))
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
    with staged_folder(out) as stage:
        for pose, name in zip(poses, names, strict=True):
            write_openpose_json(pose, stage / name)
    return [out / name for name in names]
