"""What stands behind the page, without the page: people to choose, poses found and read, requests worked off.

Everything that a browser sends is checked here. A refusal is a `ValueError` whose line the page shows.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from imagpose.io import LOCK_FILE
from imagpose.pictures import load_picture, parse_size
from imagpose.pipeline.loading import load_pipeline, settled_sampling
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import Pose, PoseOptions, draw_skeleton, read_pose, read_pose_file, to_openpose
from imagpose.pose.library import library
from imagpose.serving.demo import PEOPLE_FOLDER
from imagpose.serving.detection import PICTURE_ENDINGS
from imagpose.serving.framing import people_in_photo, poses_in_picture
from imagpose.serving.generate import generate_inputs, photographs_note
from imagpose.serving.progress import Watch
from imagpose.serving.results import skeleton_size
from imagpose.serving.settings import GenerateSettings
from imagpose.serving.web.desk import Desk, Job
from imagpose.serving.web.limits import Limits, inside, remove_old
from imagpose.serving.web.orders import Order, Photo, read_order

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

__all__ = ["Studio", "write_archive"]

_BACKEND = "torch"  # "auto" would choose by what earlier requests left on the disk: equal requests, other bytes
_IN_THE_PAGES_WORDS = {  # what is said for the command line
    r"--pose-frame HEIGHTxWIDTH(, or put its picture beside it)?": "give the frame, height x width",
    r"say which: --pose-units": "convert it by `imagpose poses convert` with --pose-units",
    r" \(--[\w-]+\)": "",
}
_VIEW_NAMES = ("front", "back", "side")  # the first views of every person that ships, see tools/make_demo_people.py


class Studio:
    """The models, the detector, the files and the line of requests of one page.

    Args:
        folder: for all files; photos are taken from it alone.
        models: what `models.folder.resolve_model` takes, by the names that the page offers; loaded when first used.
        limits: how much is taken.
        device: see `devices.choose_device`.
    """

    def __init__(self, folder: Path, models: Mapping[str, str], limits: Limits, device: str | None = None) -> None:
        self.folder, self.limits, self.models = folder.resolve(), limits, models
        self.desk = Desk(limits.waiting)
        self._device = device
        self._pipelines: dict[str, IMAGPosePipeline] = {}
        self.people_folder = self.folder / "people"
        shutil.copytree(PEOPLE_FOLDER, self.people_folder, dirs_exist_ok=True)

    def close(self) -> None:
        """End all requests."""
        self.desk.close()

    def remove_old_files(self) -> None:
        """Remove uploads and results that are old enough."""
        remove_old(self.folder, self.limits.kept_seconds, keep={self.people_folder, self.folder / LOCK_FILE})

    def usual_sampling(self, model: str) -> tuple[int | None, float | None]:
        """The steps and the scale of guidance of one of the page's models, where a request does not say them."""
        sampling = settled_sampling(Sampling(), self.models[model])
        return sampling.steps, sampling.guidance_scale

    def people(self) -> list[dict[str, Any]]:
        """The rendered people that ship: name, and their first views with poses."""
        return [
            {
                "name": folder.name,
                "views": [
                    {
                        "name": name,
                        "path": str(folder / f"{index}.png"),
                        "pose": to_openpose(read_pose(folder / f"{index}.json")),
                    }
                    for index, name in enumerate(_VIEW_NAMES)
                ],
            }
            for folder in sorted(self.people_folder.iterdir())
        ]

    def library(self) -> list[dict[str, Any]]:
        """The poses of the library: name, what it shows, OpenPose JSON."""
        return [
            {"name": own.name, "text": f"{own.text}; {own.view}", "pose": to_openpose(own.pose)}
            for own in library().values()
        ]

    def detect(self, path: str) -> dict[str, Any]:
        """The pose of the largest person in a photo.

        Args:
            path: of a file inside the page's folder.

        Returns:
            width and height of the photo, "pose" as OpenPose JSON or None, and "note" where there is something to say.

        Raises:
            ValueError: the file is no photo, or too large.
        """
        with self._refusing():
            file = inside(self.folder, path)
            self.limits.check_photo(file)
            picture = load_picture(file)
        found, note = people_in_photo(picture)
        pose = None if not found else to_openpose(found[0])
        return {"width": picture.width, "height": picture.height, "pose": pose, "note": note}

    def read(self, path: str, frame: str = "") -> dict[str, Any]:
        """The poses in a file: of key points, a drawn skeleton, or a photo in which they are detected.

        Args:
            path: of a file inside the page's folder.
            frame: height x width of the frame of key points whose file states none.

        Returns:
            "poses" as OpenPose JSON, and "notes".

        Raises:
            ValueError: none can be read from it.
        """
        with self._refusing():
            file = inside(self.folder, path)
            self.limits.check_file(file)
            options = PoseOptions(frame=parse_size(frame) if frame.strip() else None)
            if file.suffix.lower() in PICTURE_ENDINGS:
                self.limits.check_photo(file)
                try:
                    found, note = poses_in_picture(load_picture(file))
                except ValueError as error:
                    raise ValueError(f"{file.name}: {error}") from None
                poses, notes = found[:1], [note] if note else []
            else:
                read = read_pose_file(file, options)
                poses, notes = read.poses, [self._plain(note) for note in read.notes]
        if len(poses) > self.limits.poses:
            notes.append(f"{len(poses)} poses; the first {self.limits.poses} are taken")
        return {"poses": [to_openpose(pose) for pose in poses[: self.limits.poses]], "notes": notes}

    def submit(self, photos: Sequence[Photo], poses: Sequence[Any], settings: Mapping[str, Any]) -> Job:
        """Put a request into the line; its result is what `_work` returns.

        Raises:
            ValueError: as `read_order`.
            BusyError: too many wait.
        """
        with self._refusing():
            order = read_order(photos, poses, settings, folder=self.folder, models=self.models, limits=self.limits)
            for photo in order.photos:  # the ZIP takes them when the request is done
                os.utime(self.folder / photo.relative_to(self.folder).parts[0])
        self.remove_old_files()
        return self.desk.submit(lambda job: self._work(order, job))

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Makes of what goes wrong in the block a `ValueError` whose line can be shown."""
        try:
            yield
        except (ValueError, OSError) as error:
            raise ValueError(self._plain(str(error))) from None

    def _plain(self, text: str) -> str:
        """A line as a page shows it: no folders of the server, and not the command line's options."""
        text = re.sub(rf"{re.escape(str(self.folder))}/(?:[\w-]+/)*", "", text)
        for said, own in _IN_THE_PAGES_WORDS.items():
            text = re.sub(said, own, text)
        return text

    def _pipeline(self, model: str) -> IMAGPosePipeline:
        if model not in self._pipelines:
            self._pipelines[model] = load_pipeline(self.models[model], device=self._device, backend=_BACKEND)
            self._pipelines[model].set_progress_bar_config(disable=True)
        return self._pipelines[model]

    def _work(self, order: Order, job: Job) -> dict[str, Any]:
        """Generate, on the desk's thread.

        Returns:
            paths: "pictures", "skeletons", "sources", "files" (what the command line writes too, and last the ZIP); and
            "scores", "seconds", "note".
        """
        started = time.monotonic()
        pipeline = self._pipeline(order.model)
        settings = order.settings.settled(pipeline)
        folder = self.folder / f"result-{secrets.token_urlsafe(16)}"
        with self._refusing():
            done = generate_inputs(
                pipeline, order.inputs, settings, out=folder / "pictures", after_step=watch(order, settings, job)
            )
            archive = write_archive(folder / "imagpose.zip", order, done.files)
        pictures = done.files[: len(done.images)]
        skeletons = []
        for name, pose in zip(order.inputs.names, order.inputs.poses, strict=True):
            drawn = folder / f"{name}-skeleton.png"
            draw_skeleton(pose, *skeleton_size(pose)).save(drawn)
            skeletons += [drawn] * (len(pictures) // len(order.inputs.poses))  # one for each sample
        named: dict[str, Any] = {
            "pictures": pictures,
            "skeletons": skeletons,
            "sources": order.photos,
            "files": [*done.files, archive],
        }
        uploads = [photo for photo in order.photos if not photo.is_relative_to(self.people_folder)]
        return {
            **{name: [str(path) for path in own] for name, own in named.items()},
            "scores": [own["scores"] for own in done.record["outputs"]],
            "seconds": round(time.monotonic() - started, 1),
            "note": self._plain(photographs_note(order.model, uploads) or ""),
        }


def watch(order: Order, settings: GenerateSettings, job: Job) -> Watch:
    """The callback that tells of a job while it is worked on, with settled settings, and ends it when it is to end."""
    previews: list[str | None] = [None] * len(order.inputs.poses)

    def tell(done: int, total: int, new: Mapping[int, Image.Image]) -> None:
        for number, picture in new.items():
            previews[number] = _inline(picture)
        job.news = {"step": done, "steps": total, "previews": list(previews)}

    watching = Watch(order.inputs, settings, job.check, tell)
    tell(0, watching.total, {})
    return watching


def _inline(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def write_archive(archive: Path, order: Order, files: Sequence[Path]) -> Path:
    """Writes a ZIP with the pictures, `result.json`, and the photos and poses by the names that it records."""
    names = order.inputs.files
    kinds: dict[str, Sequence[Pose | None]] = {
        "poses": order.inputs.poses,
        "source_poses": order.inputs.source_poses or (),
    }
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for file in files:
            target.write(file, file.name)
        for photo, name in zip(order.photos, names["sources"], strict=True):
            target.write(photo, name)
        for kind, poses in kinds.items():
            for pose, name in zip(poses, names[kind], strict=True):
                assert pose is not None  # `read_order` takes the poses of all photos, or of none
                target.writestr(name, json.dumps(to_openpose(pose)) + "\n")
    return archive
