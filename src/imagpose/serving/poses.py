"""`imagpose poses`: pictures to OpenPose JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagpose.io import check_output_folder, staged_folder
from imagpose.pictures import load_picture
from imagpose.pose import Pose, write_openpose_json
from imagpose.pose.detection import PoseDetector

__all__ = ["detect_files"]


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
        raise ValueError("no picture given; at least one is needed (--picture)")
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
