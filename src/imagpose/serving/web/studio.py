"""What stands behind the page, without the page: people to choose, poses found and read, requests worked off.

Everything that a browser sends is checked here. A refusal is a `ValueError` whose line the page shows.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagpose.films import clip_rate, clip_shape, is_clip
from imagpose.io import LOCK_FILE
from imagpose.pictures import PICTURE_ENDINGS, load_picture, parse_size
from imagpose.pipeline.loading import load_pipeline, settled_sampling
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import PoseOptions, read_pose, read_pose_file, to_openpose
from imagpose.pose.library import library
from imagpose.serving.demo import PEOPLE_FOLDER
from imagpose.serving.framing import people_in_photo, poses_in_picture
from imagpose.serving.generate import photographs_note
from imagpose.serving.web.desk import Desk, Job
from imagpose.serving.web.limits import Limits, inside, remove_old
from imagpose.serving.web.orders import FilmOrder, Order, Photo, read_film_order, read_film_poses, read_order
from imagpose.serving.web.work import make_film, make_pictures

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

_BACKEND = "torch"  # "auto" would choose by what earlier requests left on the disk: equal requests, other bytes
_IN_THE_PAGES_WORDS = {  # what is said for the command line
    r"--pose-frame HEIGHTxWIDTH(, or put its picture beside it)?": "give the frame, height x width",
    r"say which: --pose-units": "convert it by `imagpose poses convert` with --pose-units",
    r" \(--pose-units pixels.*$": "",
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
        self._needed: dict[Job, set[Path]] = {}  # files of requests that wait or are worked on
        self.people_folder = self.folder / "people"
        shutil.copytree(PEOPLE_FOLDER, self.people_folder, dirs_exist_ok=True)

    def close(self) -> None:
        """End all requests."""
        self.desk.close()

    def remove_old_files(self) -> None:
        """Remove uploads and results that are old enough."""
        for job in list(self._needed):
            if job.ended.is_set():
                self._needed.pop(job, None)
        always = {self.people_folder, self.folder / LOCK_FILE}
        remove_old(self.folder, self.limits.kept_seconds, keep=always.union(*list(self._needed.values())))

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
            if is_clip(file):
                raise ValueError(f"{file.name}: a video; a film can be made of it: choose Film")
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
            notes.append(
                f"{len(poses)} poses; the first {self.limits.poses} are taken, a film takes {self.limits.frames}"
            )
        return {"poses": [to_openpose(pose) for pose in poses[: self.limits.poses]], "notes": notes}

    def look_at_sequence(self, path: str, frame: str = "") -> dict[str, Any]:
        """What a film could be made from: a file of frames, or a clip.

        Args:
            path: of a file inside the page's folder.
            frame: height x width of the frame of key points whose file states none.

        Returns:
            "frames" (None: a clip that does not say), "fps" of a clip, and "notes".

        Raises:
            ValueError: it is neither, or too large or too long.
        """
        with self._refusing():
            options = PoseOptions(frame=parse_size(frame) if frame.strip() else None)
            found = read_film_poses(inside(self.folder, path), options, self.limits)
            if isinstance(found, Path):
                return {"frames": clip_shape(found)[0], "fps": clip_rate(found), "notes": []}
        return {"frames": len(found.poses), "fps": None, "notes": [self._plain(note) for note in found.notes]}

    def submit(self, photos: Sequence[Photo], poses: Sequence[Any], settings: Mapping[str, Any]) -> Job:
        """Put a request for pictures into the line; its result is what `_work` returns.

        Raises:
            ValueError: as `read_order`.
            BusyError: too many wait.
        """
        with self._refusing():
            order = read_order(photos, poses, settings, folder=self.folder, models=self.models, limits=self.limits)
        return self._submit(order, order.photos)

    def submit_film(
        self, photos: Sequence[Photo], poses: Sequence[Any], sequence: str | None, settings: Mapping[str, Any]
    ) -> Job:
        """Put a request for a film into the line; its result is what `_work` returns.

        Raises:
            ValueError: as `read_film_order`.
            BusyError: too many wait.
        """
        with self._refusing():
            order = read_film_order(
                photos, poses, sequence, settings, folder=self.folder, models=self.models, limits=self.limits
            )
        return self._submit(order, [*order.photos, *([order.sequence] if isinstance(order.sequence, Path) else [])])

    def _submit(self, order: Order | FilmOrder, files: Sequence[Path]) -> Job:
        """Put a checked request into the line; its files stay until it ends, however long it waits and takes.

        Raises:
            ValueError: uploads and results take all the room that there is.
            BusyError: too many wait.
        """
        folder = self.folder / f"result-{secrets.token_urlsafe(16)}"
        own = {self.folder / file.relative_to(self.folder).parts[0] for file in files} - {self.people_folder}
        with self._refusing():
            for entry in own:
                os.utime(entry)
            self.remove_old_files()
            self.limits.check_room(self.folder, 0)
        job = self.desk.submit(lambda job: self._work(order, folder, job))
        self._needed[job] = own | {folder}
        return job

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

    def _work(self, order: Order | FilmOrder, folder: Path, job: Job) -> dict[str, Any]:
        """Make what is asked for, on the desk's thread; what is unfinished does not stay.

        Returns:
            what `make_pictures` or `make_film` does, with texts as paths; "sources", "seconds" and "note".
        """
        started = time.monotonic()
        pipeline = self._pipeline(order.model)
        try:
            with self._refusing():
                made = (
                    make_pictures(order, pipeline, folder, job)
                    if isinstance(order, Order)
                    else make_film(order, pipeline, folder, job, self.limits)
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        uploads = [photo for photo in order.photos if not photo.is_relative_to(self.people_folder)]
        notes = [made.get("note"), photographs_note(order.model, uploads)]
        paths = ("pictures", "skeletons", "files")
        return {
            **{name: [str(path) for path in own] if name in paths else own for name, own in made.items()},
            "sources": [str(photo) for photo in order.photos],
            "seconds": round(time.monotonic() - started, 1),
            "note": self._plain(". ".join(note for note in notes if note)),
        }
