"""Pictures of a person in poses, as the command, the page and Python ask for them: from photos to a folder of results.

One direction: read -> frame the photos -> fit the poses to the body -> draw all samples -> score -> put on a ground ->
choose -> write.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagpose.io import json_digest
from imagpose.models.folder import EMBEDDED_MODELS, model_name, resolve_model
from imagpose.models.licences import model_licence
from imagpose.outputs import check_replaceable
from imagpose.pipeline.loading import check_backend, check_dtype, load_pipeline, precision_of
from imagpose.pipeline.requests import lay_out
from imagpose.pipeline.sampling import AT_ONCE
from imagpose.pose import PoseOptions
from imagpose.provenance import Signature, generated_by, read_marks
from imagpose.serving.drawn import AfterStep, Prepared, draw_sample, finished_outputs, prepare
from imagpose.serving.framing import Framed
from imagpose.serving.inputs import (
    CHECK_VIEW_SIZE,
    GenerateInputs,
    PoseLike,
    as_list,
    poses_digest,
    read_inputs,
)
from imagpose.serving.photos import PictureLike
from imagpose.serving.results import (
    Generated,
    Output,
    finished,
    request_sheet,
    versions,
    write_results,
)
from imagpose.serving.settings import GenerateSettings
from imagpose.views import ViewGrid

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline


def generate(
    sources: PictureLike | Sequence[PictureLike],
    poses: PoseLike | Sequence[PoseLike],
    source_poses: PoseLike | Sequence[PoseLike | None] | None = None,
    *,
    out: Path | str | None = None,
    model: str | IMAGPosePipeline = "mini",
    masks: Sequence[PictureLike] = (),
    reading: PoseOptions | None = None,
    device: str | None = None,
    dtype: str | None = None,
    backend: str | None = None,
    overwrite: bool = False,
    signature: Signature | None = None,
    **settings: Any,
) -> Generated:
    """One picture per pose (and sample), named after the poses.

    All inputs are checked before the model is loaded. A folder that holds the whole result of the same request already is
    read instead of being made again.

    Args:
        sources: photos of one person: paths, or what `pictures.load_picture` takes.
        poses: key-point files of any kind, folders of them, patterns, names of the library, or `Pose` objects; a file that
            holds several poses gives as many pictures.
        source_poses: none, which reads them from beside the photos; or one per source; or "detect", also in place of all:
            it is read from no file, as with None. Unknown ones are detected, where photos are framed and the detector is
            installed.
        out: folder for <pose>.png, ..., `sheet.png` and `result.json`; None: nothing is written.
        model: "mini", the folder of a saved pipeline, a Hub id, or a pipeline that is loaded.
        masks: none, or one per source, white where it shows the person; with another `background` than "keep" the ground
            of the sources is replaced too.
        reading: what settles units, frame and person of pose files; the frame of a source's pose is its picture's.
        device, dtype, backend: see `pipeline.loading.load_pipeline`; not for a pipeline that is loaded.
        overwrite: replace results of another request in `out`; files of others are never touched.
        signature: signs the pictures by C2PA.
        settings: of `GenerateSettings` and `Sampling`, by name: size=(256, 176), samples=4, seed=7, ...

    Raises:
        ValueError, OSError: an input is not legal or not there; one line says which and what would be. Nothing has
            been written then.
    """
    asked = GenerateSettings.of(settings)
    inputs = read_inputs(as_list(sources), as_list(poses), source_poses, reading, masks)
    check_request(inputs, asked)
    asked = asked.settled(model)
    if out is not None:
        found = None if overwrite else finished(Path(out), request_digest(inputs, asked, model_label(model), dtype))
        if found is not None:
            note = f"{out} holds the result of this request already; overwrite makes it again"
            warnings.warn(note, UserWarning, stacklevel=2)
            return found
        check_replaceable(Path(out), overwrite)
    if signature is not None:
        signature.check()
    open_model = check_model(model, asked, device, dtype, backend)
    warn_of_photographs(model_label(model), as_list(sources))
    pipeline, seconds = open_model()
    return generate_inputs(
        pipeline, inputs, asked, out=out, dtype=dtype, signature=signature, overwrite=overwrite, load_seconds=seconds
    )


def generate_inputs(
    pipeline: IMAGPosePipeline,
    inputs: GenerateInputs,
    settings: GenerateSettings,
    *,
    out: Path | str | None = None,
    dtype: str | None = None,
    signature: Signature | None = None,
    overwrite: bool = False,
    load_seconds: float = 0.0,
    after_step: AfterStep | None = None,
) -> Generated:
    """What `generate` gives, by a pipeline that is loaded, from inputs that are read and checked.

    Args:
        pipeline: with the scheduler of the settings.
        dtype: that was asked for, which belongs to the request.
        load_seconds: time that loading took, for the record.
        after_step: the pipeline's `callback_on_step_end`; what it raises ends the request, and nothing is written.
    """
    started = time.perf_counter()
    pipeline.backend.used.clear()  # the record names those of this request
    prepared = prepare(pipeline, inputs, settings.settled(pipeline))
    drawn = [
        draw_sample(pipeline, prepared, settings.sampling.seed + sample, after_step)
        for sample in range(settings.samples)
    ]
    sampled = time.perf_counter()
    outputs = finished_outputs(prepared, drawn)
    seconds = {
        "load": round(load_seconds, 3),
        "generate": round(sampled - started, 3),
        "score": round(time.perf_counter() - sampled, 3),
    }
    record = picture_record(pipeline, prepared, outputs, dtype, seconds, signed=signature is not None)
    files = []
    if out is not None:
        sheet = request_sheet([own.picture for own in prepared.sources], prepared.fitted.poses, outputs)
        files = write_results(Path(out), outputs, sheet, record, model_label(pipeline), signature, overwrite)
    return Generated([own.picture for own in outputs], [own.name for own in outputs], record, files)


def picture_record(
    pipeline: IMAGPosePipeline,
    request: Prepared,
    outputs: Sequence[Output],
    dtype: str | None,
    seconds: Mapping[str, float],
    *,
    together: int = 1,
    signed: bool = False,
) -> dict[str, Any]:
    """What `result.json` says: how the pictures were made, and everything that decides their bytes.

    Args:
        outputs: of the request.
        dtype: that was asked for, which belongs to the request.
        seconds: that its steps took.
        together: requests that shared a call.
        signed: whether the pictures are.
    """
    inputs, settings, model = request.inputs, request.settings, model_label(pipeline)
    grid = settings.view_grid(len(inputs.sources), len(inputs.poses))
    return {
        **request_record(pipeline, inputs, request.sources, request.how_fitted, request.size, grid),
        "request": request_digest(inputs, settings, model, dtype),
        "signed": signed,
        "settings": {"model": model, **settings.record()},
        "outputs": [_recorded(own, inputs) for own in outputs],
        "requests_at_once": together,
        "seconds": dict(seconds),
    }


def request_record(
    pipeline: IMAGPosePipeline,
    inputs: GenerateInputs,
    framed: Sequence[Framed],
    how_fitted: str,
    size: tuple[int, int],
    grid: ViewGrid,
) -> dict[str, Any]:
    """What the records of pictures and of films say alike: inputs, model, and what the result depends on."""
    import torch

    return {
        "marked": generated_by(model_label(pipeline)),
        "licence": model_licence(str(pipeline.name_or_path)) if pipeline.name_or_path else None,
        "sources": _recorded_sources(inputs, framed),
        "poses": list(inputs.files.get("poses", [])),
        "read": inputs.said,
        "fitted": how_fitted,
        "size": {"height": size[0], "width": size[1]},
        "grid": str(grid),
        "versions": versions(),
        "device": str(pipeline.device),
        "dtype": precision_of(pipeline),
        "backend": pipeline.backend.record(),
        "canvases_at_once": AT_ONCE,
        "threads": torch.get_num_threads(),
    }


def check_request(inputs: GenerateInputs, settings: GenerateSettings) -> None:
    """Lay the request out without a model.

    Raises:
        ValueError: a pose cannot be seen, or sources, poses, grid and scenario do not go together.
    """
    grid = settings.view_grid(len(inputs.sources), len(inputs.poses))
    size = settings.size or CHECK_VIEW_SIZE
    lay_out(len(inputs.sources), inputs.poses, grid, settings.scenario, *size)


def request_digest(inputs: GenerateInputs, settings: GenerateSettings, model: str, dtype: str | None) -> str:
    """Of everything that decides the pictures; equal requests have equal pictures."""
    return json_digest(
        {
            "model": model,
            "dtype": dtype,
            "settings": settings.record(),
            "sources": inputs.digests,
            "masks": [json_digest(mask.tobytes().hex()) for mask in inputs.masks],
            "source_poses": poses_digest(inputs.source_poses or ()),
            "poses": poses_digest(inputs.poses),
            "names": inputs.names,
        }
    )


def check_model(
    model: str | IMAGPosePipeline,
    settings: GenerateSettings,
    device: str | None,
    dtype: str | None,
    backend: str | None,
) -> Callable[[], tuple[IMAGPosePipeline, float]]:
    """Look at a model before anything is written; what this gives then opens it, and tells the seconds that loading took.

    Raises:
        ValueError: no such model, device, precision or backend, or they do not go together; or a device, precision, backend
            or scheduler is given for a pipeline that is loaded.
    """
    if isinstance(model, (str, Path)):
        resolve_model(model)
        check_backend(backend or "auto", device)
        check_dtype(dtype, device)
    elif any(own is not None for own in (settings.sampling.scheduler, device, dtype, backend)):
        raise ValueError(
            "the pipeline is loaded already: give its scheduler, device, dtype and backend to the pipeline itself"
        )

    def opened() -> tuple[IMAGPosePipeline, float]:
        if not isinstance(model, (str, Path)):
            return model, 0.0
        started = time.perf_counter()
        pipeline = load_pipeline(str(model), settings.sampling.scheduler, device, dtype, backend or "auto")
        return pipeline, time.perf_counter() - started

    return opened


def warn_of_photographs(model: str, sources: Sequence[PictureLike]) -> None:
    """Warns (UserWarning) with the line of `photographs_note`."""
    note = photographs_note(model, sources)
    if note is not None:
        warnings.warn(note, UserWarning, stacklevel=3)


def photographs_note(model: str, sources: Sequence[PictureLike]) -> str | None:
    """A line that mini knows rendered people only, where the model is mini and a source lacks our pictures' mark."""
    unmarked = [source for source in sources if not _is_ours(source)] if model in EMBEDDED_MODELS else []
    if not unmarked:
        return None
    name = str(unmarked[0]) if isinstance(unmarked[0], (str, Path)) else "a source"
    return (
        f"{model} knows rendered people only, and {name} carries no mark of imagpose: for photographs convert or train a"
        " model that has seen some, see docs/your-own-photo.md"
    )


def _is_ours(source: PictureLike) -> bool:
    file = source if isinstance(source, (str, Path)) else getattr(source, "filename", "")
    try:
        return bool(file) and (read_marks(Path(file)).software or "").startswith("imagpose")
    except (OSError, ValueError):
        return False


def model_label(model: str | IMAGPosePipeline) -> str:
    """How results name the model."""
    if isinstance(model, (str, Path)):
        return model_name(model)
    return model_name(str(model.name_or_path)) if model.name_or_path else "unsaved"


def _recorded(own: Output, inputs: GenerateInputs) -> dict[str, Any]:
    origins = inputs.files.get("poses", [])
    return {
        "file": own.file,
        "from": origins[own.target] if own.target < len(origins) else inputs.names[own.target],
        "sample": own.sample,
        "seed": own.seed,
        "scores": None if own.scores is None else own.scores.record(),
        "rejected": own.rejected,
    }


def _recorded_sources(inputs: GenerateInputs, framed: Sequence[Framed]) -> list[dict[str, Any]]:
    names = inputs.files.get("sources") or [f"source {number}" for number in range(1, len(framed) + 1)]
    return [
        {"file": name, "framed": None if own.box is None else list(own.box), "pose": own.pose_from}
        for name, own in zip(names, framed, strict=True)
    ]
