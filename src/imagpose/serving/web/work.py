"""How a request is worked off on the desk's thread: pictures or a film, and a ZIP with all that it is repeated from."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from imagpose.pictures import data_address, load_picture
from imagpose.pose import Pose, PoseOptions, draw_skeleton, to_openpose
from imagpose.serving.animate import animate_inputs
from imagpose.serving.film_places import FilmPlaces
from imagpose.serving.generate import generate_inputs
from imagpose.serving.progress import Watch
from imagpose.serving.results import RECORD, skeleton_size
from imagpose.serving.sequences import PoseSequence, read_sequence
from imagpose.serving.settings import GenerateSettings
from imagpose.serving.web.desk import Job
from imagpose.serving.web.limits import Limits
from imagpose.serving.web.orders import SEQUENCE, FilmOrder, Order

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

_ARCHIVE = "imagpose.zip"


def make_pictures(order: Order, pipeline: IMAGPosePipeline, folder: Path, job: Job) -> dict[str, Any]:
    """Generate the pictures of a request.

    Args:
        folder: for all files, made here.

    Returns:
        "pictures", "skeletons" and "files" (what the command line writes too, and last the ZIP), all paths; "scores".
    """
    settings = order.settings.settled(pipeline)
    done = generate_inputs(
        pipeline, order.inputs, settings, out=folder / "pictures", after_step=watch(order, settings, job)
    )
    archive = write_archive(folder / _ARCHIVE, order, done.files)
    pictures = done.files[: len(done.images)]
    skeletons = []
    for name, pose in zip(order.inputs.names, order.inputs.poses, strict=True):
        drawn = _drawn(pose, folder / f"{name}-skeleton.png")
        skeletons += [drawn] * (len(pictures) // len(order.inputs.poses))  # one for each sample
    return {
        "pictures": pictures,
        "skeletons": skeletons,
        "files": [*done.files, archive],
        "scores": [own["scores"] for own in done.record["outputs"]],
    }


def make_film(order: FilmOrder, pipeline: IMAGPosePipeline, folder: Path, job: Job, limits: Limits) -> dict[str, Any]:
    """Make the film of a request.

    The sequence is written first and read from its file, as the command line will read it: the same file, settings and pins
    give the same frames.

    Args:
        folder: for all files, made here.

    Returns:
        "skeletons" of the first and the last pose, "files" (the film, its record, and last the ZIP), all paths; "frames"
        and "fps" of the film, and "note".

    Raises:
        ValueError: a clip shows nobody, or has more frames than the limit.
    """
    job.news = {"step": 0}
    given = order.sequence if isinstance(order.sequence, PoseSequence) else _found(order, order.sequence, limits, job)
    file, film = folder / SEQUENCE, folder / order.name
    file.parent.mkdir(parents=True)
    write_sequence(given, file)
    read = read_sequence([file], PoseOptions(units="pixels"))
    sequence = replace(read, fps=given.fps, origins=[SEQUENCE], said=given.said)
    done = animate_inputs(
        pipeline, order.inputs, sequence, order.settings, out=film, tell=_telling(FilmPlaces(film), job)
    )
    record = FilmPlaces(film).record.rename(folder / RECORD)
    known = [pose for pose in sequence.poses if pose is not None]
    skeletons = [
        _drawn(pose, folder / f"{name}-skeleton.png") for name, pose in (("first", known[0]), ("last", known[-1]))
    ]
    files = [film, record, write_archive(folder / _ARCHIVE, order, [film, record], file)]
    return {
        "skeletons": skeletons,
        "files": files,
        "frames": done.num_frames,
        "fps": done.record["fps"],
        "note": "; ".join(given.notes),
    }


def _found(order: FilmOrder, clip: Path, limits: Limits, job: Job) -> PoseSequence:
    """The poses in a clip."""

    def tell(frames: int) -> None:
        job.check()
        if (frames - 1) * (order.settings.between + 1) + 1 > limits.frames:
            raise ValueError(f"more than {limits.frames} frames: this page takes at most {limits.frames}")
        job.news = {"step": 0, "read": frames}

    found = read_sequence([clip], tell=tell)
    if len(found.poses) < 2:
        raise ValueError(f"{clip.name}: only one frame shows anybody; a film needs at least two")
    return replace(found, said=[line.replace(str(clip), "the sequence") for line in found.said])


def write_sequence(sequence: PoseSequence, file: Path) -> None:
    """Write a sequence as OpenPose JSON, an entry for each frame, also where nobody is known."""
    known = next(to_openpose(pose) for pose in sequence.poses if pose is not None)
    frames = [{**known, "people": []} if pose is None else to_openpose(pose) for pose in sequence.poses]
    file.write_text(json.dumps(frames) + "\n", encoding="utf-8")


def _drawn(pose: Pose, file: Path) -> Path:
    draw_skeleton(pose, *skeleton_size(pose)).save(file)
    return file


def watch(order: Order, settings: GenerateSettings, job: Job) -> Watch:
    """The callback that tells of a job while it is worked on, with settled settings, and ends it when it is to end."""
    previews: list[str | None] = [None] * len(order.inputs.poses)

    def tell(done: int, total: int, new: Mapping[int, Image.Image]) -> None:
        for number, picture in new.items():
            previews[number] = _preview(picture)
        job.news = {"step": done, "steps": total, "previews": list(previews)}

    watching = Watch(order.inputs, settings, job.check, tell)
    tell(0, watching.total, {})
    return watching


def _telling(places: FilmPlaces, job: Job) -> Callable[[int, int], None]:
    """The callback of a film: how far it is, how many frames are finished, and the latest of them."""
    shown: dict[str, Any] = {"frames": 0, "previews": []}

    def tell(done: int, total: int) -> None:
        job.check()
        frames = sum(1 for _ in places.frames.glob("frame-*.png"))
        if frames > shown["frames"]:
            shown.update(frames=frames, previews=[_preview(load_picture(places.frame(frames - 1)))])
        job.news = {"step": done, "steps": total, **shown}

    return tell


def _preview(picture: Image.Image) -> str:
    return data_address(picture, "JPEG", quality=80)


def write_archive(archive: Path, order: Order | FilmOrder, files: Sequence[Path], sequence: Path | None = None) -> Path:
    """Writes a ZIP with the results, `result.json`, and the photos and poses by the names that it records.

    Args:
        sequence: the file with the poses of a film.
    """
    names = order.inputs.files
    kinds: dict[str, Sequence[Pose | None]] = {
        "poses": order.inputs.poses,
        "source_poses": order.inputs.source_poses or (),
    }
    with zipfile.ZipFile(archive, "w", strict_timestamps=False) as target:  # people installed with times of 1970
        for file in files:
            target.write(file, file.name)
        for photo, name in zip(order.photos, names["sources"], strict=True):
            target.write(photo, name)
        if sequence is not None:
            target.write(sequence, SEQUENCE)
        for kind, poses in kinds.items():
            for pose, name in zip(poses, names[kind], strict=True):
                assert pose is not None  # `read_order` takes the poses of all photos, or of none
                target.writestr(name, json.dumps(to_openpose(pose)) + "\n")
    return archive
