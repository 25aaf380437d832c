"""A film of a person from photos and a sequence of poses: canvas after canvas, each beside finished frames.

    read -> frame the photos -> smooth, frame and fit the poses -> for each canvas: sources, finished frames, next frames
    -> a file for each frame -> the film

Frames exist as files only, so memory does not grow with their number, and what was killed goes on at its first missing
frame. All views of all canvases start from the same noise: what the noise decides is then the same in every frame.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from imagpose.films import check_film
from imagpose.io import json_digest, locked_folder, write_json
from imagpose.pictures import load_picture
from imagpose.pixel_marks import NO_MARK, mark_pixels
from imagpose.pose import PoseOptions
from imagpose.provenance import Origin, Signature, save_film, save_generated
from imagpose.serving.drawn import AfterStep, draw_poses, frame_sources
from imagpose.serving.film_places import FilmPlaces
from imagpose.serving.framing import Framed
from imagpose.serving.generate import check_model, model_label, request_record, warn_of_photographs
from imagpose.serving.inputs import (
    GenerateInputs,
    PoseLike,
    Targets,
    as_list,
    poses_digest,
    read_inputs,
)
from imagpose.serving.photos import PictureLike
from imagpose.serving.sequences import DEFAULT_FPS, PoseSequence, PreparedSequence, prepare_sequence, read_sequence
from imagpose.serving.settings import AnimateSettings
from imagpose.views import ViewGrid, plan_sequence

if TYPE_CHECKING:
    import torch

    from imagpose.pipeline import IMAGPosePipeline

Tell = Callable[[int, int], None]
"""Is told the steps done, and those in all."""


@dataclass(frozen=True)
class Animated:
    """What `animate` gives back.

    Attributes:
        out: the film, or the folder of frames.
        num_frames: how many frames it has.
        record: how it was made; ``<out>.json``, or result.json in the folder.
    """

    out: Path
    num_frames: int
    record: dict[str, Any]


def animate(
    sources: PictureLike | Sequence[PictureLike],
    poses: PoseLike | Sequence[PoseLike],
    source_poses: PoseLike | Sequence[PoseLike | None] | None = None,
    *,
    out: Path | str,
    model: str | IMAGPosePipeline = "mini",
    reading: PoseOptions | None = None,
    device: str | None = None,
    dtype: str | None = None,
    backend: str | None = None,
    overwrite: bool = False,
    signature: Signature | None = None,
    tell: Tell | None = None,
    **settings: Any,
) -> Animated:
    """A film of the person of the sources, who moves as the poses do.

    The same call again goes on where it was stopped, and leaves a complete result as it is.

    Args:
        sources, source_poses, model, reading, device, dtype, signature: as of `generate`; a film is signed, or each frame
            of a folder.
        backend: as of `generate`, but torch if not given: "auto" may choose another one when a stopped film goes on.
        poses: a file of frames, a folder or pattern of files, a clip, or `Pose` objects, in their order.
        out: film.mp4 (extra `video`), film.gif, or a folder for frame-000001.png, ... and result.json. The frames of a film
            lie in ``<out>.frames`` until it is complete; its record is ``<out>.json``.
        overwrite: replace the result of another request.
        tell: called after each step with the steps done and those of the whole film; what it raises stops the film.
        settings: of `AnimateSettings`, `GenerateSettings` and `Sampling`, by name: overlap=1, grid="3x3", seed=7, ...

    Raises:
        ValueError, OSError: an input is not legal or not there; one line says which and what would be. Nothing has
            been written then.
    """
    asked = AnimateSettings.of(settings)
    places = FilmPlaces(Path(out))
    if places.is_film:
        check_film(places.out, asked.fps or DEFAULT_FPS)
    if backend is None and isinstance(model, (str, Path)):
        backend = "torch"
    open_model = check_model(model, asked.drawing, device, dtype, backend)
    if signature is not None:
        signature.check()
    inputs = read_inputs(as_list(sources), Targets([], [], [], []), source_poses, reading)
    sequence = read_sequence(as_list(poses), reading).filled(asked.between)  # last, since a clip's poses take time
    fps, grid = check_sequence(inputs, sequence, asked, places)
    asked = replace(asked, drawing=asked.drawing.settled(model))
    request = _request(inputs, sequence, asked, fps, model=model_label(model), dtype=dtype, backend=backend)
    record = places.finished(request)
    if record is not None:
        note = f"{out} holds the result of this request already"
        warnings.warn(note, UserWarning, stacklevel=2)
    else:
        places.check(request, overwrite)
        warn_of_photographs(model_label(model), as_list(sources))
        pipeline, seconds = open_model()
        film = _Film(pipeline, inputs, sequence, asked, grid, fps, places, request, signature, tell)
        record = film.make(seconds, overwrite)
    places.clear(request)
    return Animated(places.out, record["frames"], record)


def animate_inputs(
    pipeline: IMAGPosePipeline,
    inputs: GenerateInputs,
    sequence: PoseSequence,
    settings: AnimateSettings,
    *,
    out: Path,
    tell: Tell | None = None,
) -> Animated:
    """What `animate` gives, by a pipeline that is loaded, from photos and a sequence that are read.

    Args:
        inputs: the photos; its target poses are not looked at.
        sequence: as it was read; poses are put between by the settings.
        out, tell: as of `animate`; nothing lies at `out` yet.

    Raises:
        ValueError, OSError: as `animate`.
    """
    places, sequence = FilmPlaces(out), sequence.filled(settings.between)
    fps, grid = check_sequence(inputs, sequence, settings, places)
    asked = replace(settings, drawing=settings.drawing.settled(pipeline))
    request = _request(inputs, sequence, asked, fps, model=model_label(pipeline), dtype=None, backend=None)
    places.check(request, False)
    record = _Film(pipeline, inputs, sequence, asked, grid, fps, places, request, None, tell).make(0.0, False)
    places.clear(request)
    return Animated(places.out, record["frames"], record)


def check_sequence(
    inputs: GenerateInputs, sequence: PoseSequence, settings: AnimateSettings, places: FilmPlaces
) -> tuple[float, ViewGrid]:
    """Lay a film out without a model: its frames a second, and the grid of its canvases.

    Args:
        sequence: with all poses in between.

    Raises:
        ValueError: photos, frames, overlap and grid do not go together, or the film's format cannot hold it; or frames that
            others are drawn from are to be marked.
    """
    if not places.is_film and settings.drawing.mark != NO_MARK:
        raise ValueError(
            "a mark is put on a film alone, since frames are drawn from one another: name a film (.mp4, .gif)"
        )
    fps = settings.fps or sequence.fps or DEFAULT_FPS
    known = sum(pose is not None for pose in sequence.poses)
    grid = settings.drawing.view_grid(len(inputs.sources), known)
    plan_sequence(len(inputs.sources), known, grid, settings.overlap)
    if places.is_film:
        check_film(places.out, fps, len(sequence.poses))
    return fps, grid


@dataclass(frozen=True, eq=False)
class _Film:
    """A checked request with a pipeline that is loaded."""

    pipeline: IMAGPosePipeline
    inputs: GenerateInputs
    sequence: PoseSequence
    settings: AnimateSettings
    grid: ViewGrid
    fps: float
    places: FilmPlaces
    request: dict[str, Any]
    signature: Signature | None
    tell: Tell | None

    def make(self, load_seconds: float, overwrite: bool) -> dict[str, Any]:
        """Draw what is missing, write the film, and give the record; first of all, look at photos and poses."""
        drawing = replace(self.settings.drawing, grid=str(self.grid))
        size = drawing.picture_size(self.pipeline)
        framed = frame_sources(self.inputs, drawing, *size)
        prepared = prepare_sequence(self.sequence, framed, self.settings, self.fps, size)
        with locked_folder(self.places.frames):
            self.places.claim(self.request, overwrite)
            started = time.perf_counter()
            self.pipeline.backend.used.clear()  # the record names those of this film
            made = draw_frames(
                self.pipeline, framed, prepared, replace(self.settings, drawing=drawing), size, self.places,
                None if self.places.is_film else self.signature, self.tell,
            )  # fmt: skip
            seconds = {"load": round(load_seconds, 3), "generate": round(time.perf_counter() - started, 3)}
            record = {
                **request_record(self.pipeline, self.inputs, framed, prepared.said["fitted"], size, self.grid),
                "poses": self.sequence.origins,
                "read": [*self.inputs.said, *self.sequence.said],
                "request": json_digest(self.request),
                "settings": {"model": model_label(self.pipeline), **self.settings.record()},
                "signed": self.signature is not None,
                "frames": prepared.num_frames,
                "fps": self.fps,
                **prepared.said,
                "made": {"frames": made, "seconds": seconds},
            }
            if self.places.is_film:
                files = (self.places.frame(number) for number in range(prepared.num_frames))
                frames = (mark_pixels(load_picture(file), drawing.mark) for file in files)
                origin = Origin(model_label(self.pipeline), drawing.sampling.seed)
                save_film(frames, self.places.out, self.fps, origin, self.signature)
            write_json(self.places.record, record, indent=2)
        return record


def _request(
    inputs: GenerateInputs,
    sequence: PoseSequence,
    settings: AnimateSettings,
    fps: float,
    *,
    model: str,
    dtype: str | None,
    backend: str | None,
) -> dict[str, Any]:
    """Everything that decides the frames; equal requests have equal frames. Poses put between decide as poses do."""
    own = {name: value for name, value in settings.record().items() if name != "between"}
    return {
        "model": model,
        "dtype": dtype,
        "backend": backend,
        **own,
        "fps": fps,
        "frames": len(sequence.poses),
        "poses": poses_digest(sequence.poses),
        "sources": inputs.digests,
        "source_poses": poses_digest(inputs.source_poses or ()),
    }


def draw_frames(
    pipeline: IMAGPosePipeline,
    sources: Sequence[Framed],
    sequence: PreparedSequence,
    settings: AnimateSettings,
    size: tuple[int, int],
    places: FilmPlaces,
    signature: Signature | None = None,
    tell: Tell | None = None,
) -> int:
    """Write the frames of a sequence that are not there yet, canvas by canvas.

    A canvas whose frames are all there is left as it is, any other is drawn whole: what it shows depends on earlier frames,
    which are read from their files, on its poses and on the seed alone.

    Args:
        settings: whose `drawing` has the grid of all canvases.
        places: where they go.
        tell: as of `animate`.

    Returns:
        The number of frames written.
    """
    drawing, poses = settings.drawing, sequence.poses
    grid = drawing.view_grid(len(sources), len(poses))
    origin = Origin(model_label(pipeline), drawing.sampling.seed)
    canvases = list(plan_sequence(len(sources), len(poses), grid, settings.overlap))
    ends = [*sequence.places[1:], sequence.num_frames]
    console, written = Console(stderr=True), 0
    pipeline.set_progress_bar_config(disable=True)
    for number, (finished, new) in enumerate(
        track(canvases, "canvases", console=console, disable=tell is not None or not console.is_terminal)
    ):
        files = [[places.frame(own) for own in range(sequence.places[place], ends[place])] for place in new]
        if all(file.is_file() for held in files for file in held):
            continue
        earlier = [load_picture(places.frame(sequence.places[place])) for place in finished]
        in_view = [poses[place].fit(size[1], size[0]) for place in finished]
        generator, latents = _start(pipeline, grid, size, drawing.sampling.seed)
        pictures = draw_poses(
            pipeline, [*(own.picture for own in sources), *earlier], [*(own.pose for own in sources), *in_view],
            [poses[place] for place in new], drawing, generator, size,
            None if tell is None else _telling(tell, number, len(canvases)), latents,
        )  # fmt: skip
        for picture, held in zip(pictures, files, strict=True):
            for file in held:
                save_generated(picture, file, origin, signature)
                written += 1
    return written


def _telling(tell: Tell, number: int, canvases: int) -> AfterStep:
    """The pipeline's callback while it draws a canvas of a film."""

    def after_step(pipeline: IMAGPosePipeline, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        steps = pipeline.num_timesteps
        tell(number * steps + step + 1, canvases * steps)
        return {}

    return after_step


def _start(
    pipeline: IMAGPosePipeline, grid: ViewGrid, size: tuple[int, int], seed: int
) -> tuple[torch.Generator, torch.Tensor]:
    """The generator of a canvas, and its start noise: one view's, drawn on the CPU, in every slot."""
    import torch

    from imagpose.views import tile

    generator = torch.Generator().manual_seed(seed)
    view = torch.randn(pipeline.canvas_shape(ViewGrid(1, 1), *size), generator=generator)
    views = view.unsqueeze(1).expand(-1, grid.num_views, -1, -1, -1)
    return generator, tile(views, grid)
