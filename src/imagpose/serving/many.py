"""Many people, each in the same poses: a folder of results for every folder of photos, continued where it stopped."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from imagpose.io import LOCK_FILE, locked_folder
from imagpose.outputs import check_output_folder, check_replaceable
from imagpose.pictures import picture_files
from imagpose.pose import PoseOptions
from imagpose.provenance import Signature
from imagpose.serving.generate import (
    check_model,
    check_request,
    generate_inputs,
    model_label,
    request_digest,
    warn_of_photographs,
)
from imagpose.serving.inputs import DETECT, GenerateInputs, PoseLike, as_list, read_inputs, read_targets
from imagpose.serving.results import RECORD, Generated, finished
from imagpose.serving.settings import GenerateSettings

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline


def generate_people(
    photos: Path | str,
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
    **settings: Any,
) -> dict[str, list[Path]]:
    """Pictures of all people in a folder, with a progress bar.

    Who is complete in `out`, from the same photos, poses and settings, is left as it is. Somebody whose photos cannot be
    read does not keep the others from being generated.

    Args:
        photos: a folder with a folder of photos for each person. A photo's pose is read where ``<photo>.json`` or
            ``<photo>_keypoints.json`` lies beside it.
        poses: as of `generate`.
        source_poses: none, or "detect", so that no pose is read from beside a photo.
        out: folder for ``<person>/<pose>.png``, ..., each person's sheet and record.
        model, reading, device, dtype, backend, overwrite, signature, settings: as of `generate`.

    Returns:
        The files of each person, as `generate` lists them.

    Raises:
        ValueError, OSError: nothing could be done; or the line names those who failed, the others are complete.
    """
    asked, out = GenerateSettings.of(settings), Path(out)
    check_source_poses(source_poses)
    found = people_photos(Path(photos))
    targets = read_targets(as_list(poses), reading)
    _check_out(out)
    asked = asked.settled(model)
    if signature is not None:
        signature.check()
    open_model = check_model(model, asked, device, dtype, backend)
    warn_of_photographs(model_label(model), [file for files in found.values() for file in files])
    inputs_of = partial(read_inputs, poses=targets, source_poses=source_poses, reading=reading)
    files: dict[str, list[Path]] = {}
    failed: dict[str, str] = {}
    console = Console(stderr=True)
    with locked_folder(out):
        todo: list[str] = []
        for person, own in found.items():
            with _noting(failed, person):
                done = _prepared(inputs_of(own), asked, out / person, model_label(model), dtype, overwrite)
                if done is None:
                    todo.append(person)
                else:
                    files[person] = done.files
        complete = len(files)
        if todo:
            pipeline, seconds = open_model()
            pipeline.set_progress_bar_config(disable=True)
            for person in track(todo, "people", console=console, disable=not console.is_terminal):
                with _noting(failed, person):  # what could be read a while ago may be gone
                    inputs = inputs_of(found[person])
                if person not in failed:
                    generated = generate_inputs(
                        pipeline, inputs, asked, out=out / person, dtype=dtype, signature=signature,
                        overwrite=overwrite, load_seconds=seconds,
                    )  # fmt: skip
                    files[person], seconds = generated.files, 0.0
    if complete:
        warnings.warn(f"{complete} of {len(found)} people were complete already", UserWarning, stacklevel=2)
    if failed:
        person, reason = next(iter(failed.items()))
        raise ValueError(
            f"{len(failed)} of {len(found)} people could not be generated, the others are complete in {out};"
            f" {person}: {reason}"
        )
    return {person: files[person] for person in found}


@contextmanager
def _noting(failed: dict[str, str], person: str) -> Iterator[None]:
    """Note why somebody's request fails in the block, in place of raising it."""
    try:
        yield
    except (ValueError, OSError) as error:
        failed[person] = str(error)


def _check_out(out: Path) -> None:
    """Look at the folder of all people's results: an earlier call's is known by its lock, or by a result in it.

    Raises:
        ValueError: it holds files and is no such folder; or see `outputs.check_output_folder`.
    """
    check_output_folder(out)
    entries = [*out.iterdir()] if out.is_dir() else []
    is_ours = (out / LOCK_FILE).is_file() or any((entry / RECORD).is_file() for entry in entries)
    if entries and not is_ours:
        raise ValueError(f"{out} holds files that this command did not write: choose a new or an empty folder")


def check_source_poses(source_poses: PoseLike | Sequence[PoseLike | None] | None) -> None:
    """Raises `ValueError` unless these can be those of many people: none, or the word "detect"."""
    if as_list(source_poses) not in ([], [DETECT]):
        raise ValueError(f"source poses of many people lie beside their photos: give none, or the word {DETECT}")


def people_photos(folder: Path) -> dict[str, list[Path]]:
    """The photos of each person, by the names of the folders; masks (``<photo>_mask.png``) are no photos.

    Raises:
        ValueError: no such folder, or no folders with photos in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; a folder with a folder of photos for each person expected")
    found = {
        person.name: files
        for person in sorted(folder.iterdir())
        if person.is_dir() and not person.name.startswith(".") and (files := _photos(person))
    }
    if not found:
        hint = "; give photos of one person by --source" if _photos(folder) else ""
        raise ValueError(f"{folder}: no folders with photos, one for each person ({folder}/<person>/*.jpg){hint}")
    return found


def _photos(folder: Path) -> list[Path]:
    files = picture_files(folder.iterdir())
    stems = {file.stem for file in files}
    return [file for file in files if not (file.stem.endswith("_mask") and file.stem.removesuffix("_mask") in stems)]


def _prepared(
    inputs: GenerateInputs,
    settings: GenerateSettings,
    out: Path,
    model: str,
    dtype: str | None,
    overwrite: bool,
) -> Generated | None:
    """What is there already of a person; None where it is still to be generated, and can be.

    Raises:
        ValueError, OSError: it cannot.
    """
    check_request(inputs, settings)
    done = None if overwrite else finished(out, request_digest(inputs, settings, model, dtype))
    if done is None:
        check_replaceable(out, overwrite)
    return done
