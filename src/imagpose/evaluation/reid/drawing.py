"""Pictures of a person in other poses, for sets of small pictures: drawn at one size, returned in each source's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imagpose.data.reid import ReidPicture
from imagpose.pictures import fit_view, fitted_box, load_picture
from imagpose.pipeline.loading import load_pipeline, settled_sampling
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import Pose, read_annotation_csv
from imagpose.pose.detection import detect_pose
from imagpose.pose.retarget import can_be_fitted, retarget

_LARGEST_FRAME = 4096  # pixels; the field's files do not say the pictures' sizes


@dataclass(frozen=True, eq=False)
class Drawing:
    """What is asked for of one source.

    Attributes:
        source: RGB.
        source_pose: in the source's frame; None where it is not known.
        poses: that the person is to take, in any frames.
        seed: of the noise.
    """

    source: Image.Image
    source_pose: Pose | None
    poses: Sequence[Pose]
    seed: int


Draw = Callable[[Sequence[Drawing]], list[list[Image.Image]]]
"""The pictures of each drawing, one per pose, in the source's size."""


def open_drawing(
    model: str,
    sampling: Sampling,
    size: tuple[int, int],
    *,
    fit_bodies: bool = True,
    device: str | None = None,
) -> Draw:
    """A model that draws.

    Args:
        model, device: see `load_pipeline`.
        sampling: of all pictures; each drawing has its own seed.
        size: height and width of the views in the model; sources are fitted into them, aspect kept.
        fit_bodies: poses get the proportions of the source's person where both poses are known well enough.

    Raises:
        ValueError, OSError: see `load_pipeline`.
    """
    import torch

    pipeline = load_pipeline(model, sampling.scheduler, device)
    pipeline.set_progress_bar_config(disable=True)
    sampling = settled_sampling(sampling, pipeline)
    height, width = size

    def draw(drawings: Sequence[Drawing]) -> list[list[Image.Image]]:
        pictures: list[list[Image.Image]] = pipeline(
            sources=[[fit_view(own.source, width, height)] for own in drawings],
            target_poses=[[_asked(pose, own, fit_bodies).fit(width, height) for pose in own.poses] for own in drawings],
            source_poses=[[own.source_pose.fit(width, height) if own.source_pose else None] for own in drawings],
            height=height,
            width=width,
            **sampling.arguments(),
            generator=[torch.Generator().manual_seed(own.seed) for own in drawings],
            return_dict=False,
        )[0]
        return [[_unfitted(one, own.source) for one in drawn] for drawn, own in zip(pictures, drawings, strict=True)]

    return draw


def _asked(pose: Pose, drawing: Drawing, fit_bodies: bool) -> Pose:
    """The pose in the source's frame, with its person's proportions where they are known."""
    pose = pose.fit(drawing.source.width, drawing.source.height)
    own = drawing.source_pose
    if fit_bodies and own is not None and can_be_fitted(own) and can_be_fitted(pose):
        return retarget(pose, [own])
    return pose


def _unfitted(view: Image.Image, source: Image.Image) -> Image.Image:
    """The part of a view in which `fit_view` puts the source, in the source's size."""
    width, height, left, top = fitted_box(source.width, source.height, view.width, view.height)
    cut = view.crop((left, top, left + width, top + height))
    return cut if cut.size == source.size else cut.resize(source.size, Image.Resampling.LANCZOS)


def size_of(pictures: Sequence[ReidPicture]) -> tuple[int, int]:
    """Height and width of a set's first picture."""
    first = load_picture(pictures[0].file)
    return first.height, first.width


def find_poses(
    pictures: Sequence[ReidPicture], annotations: Sequence[Path | str], detect: str | None
) -> dict[str, Pose]:
    """Poses by file name, each in its picture's frame; pictures of whom too little is known are left out.

    Args:
        pictures: of one folder.
        annotations: the field's CSV files, whose coordinates are pixels of the pictures.
        detect: what finds them in the pictures, see `pose.detection.open_detector`.

    Raises:
        ValueError: both ways or none are given, no pose is usable, or as `read_annotation_csv` and `open_detector`.
    """
    if bool(annotations) == (detect is not None):
        raise ValueError("key points are needed, in one way: --annotations (the field's CSV) or --detect")
    stored: dict[str, Pose] = {}
    for file in annotations:
        stored |= read_annotation_csv(file, (_LARGEST_FRAME, _LARGEST_FRAME))
    poses = {}
    for own in pictures:
        if detect is None and own.file.name not in stored:
            continue
        picture = load_picture(own.file)
        try:
            found = (
                Pose(stored[own.file.name].keypoints, *picture.size) if detect is None else detect_pose(picture, detect)
            )
        except ValueError:  # nobody is found
            continue
        if can_be_fitted(found) and found.inside.any():
            poses[own.file.name] = found
    if not poses:
        raise ValueError(
            f"no picture of {pictures[0].file.parent} has a pose that can be used; do the annotations belong to these"
            " pictures?"
        )
    return poses
