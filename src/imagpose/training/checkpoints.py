"""Checkpoints of a run: written to a temporary folder, then renamed; the last K are kept, and those that say so.

A checkpoint holds the stage's weights, the optimiser and the schedule (accelerate), the EMA weights
(``ema.safetensors``) and ``progress.json``, with the checksums of the others and its own. Randomness and the order of the
data are keyed by (seed, step, sample), so the step says where both stand. The names of its entries are a promise: later
versions resume it.

Nothing else in a run's folder is removed: what others put beside the weights stays when these are replaced.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from imagpose.io import clear_all_left_overs, error_line, file_digest, json_digest, partial_folder, write_json
from imagpose.outputs import carry_over, check_output_folder, mark_written
from imagpose.training.ema import AveragedWeights
from imagpose.training.stage import Stage

_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Progress:
    """How far a run has come, as ``progress.json`` holds it.

    Attributes:
        step: steps of the schedule.
        ema_step: steps of the optimiser that the EMA has seen.
        samples: samples seen, those of the run that it started from included; None: written before they were counted.
        seconds: time spent in steps.
        kept: the checkpoint is never removed.
        skipped: steps left out because loss or gradient was not finite.
    """

    step: int
    ema_step: int
    samples: int | None = None
    seconds: float = 0.0
    kept: bool = False
    skipped: int = 0


class DamagedCheckpointError(ValueError):
    """A checkpoint is not what was written."""


def read_progress(path: Path) -> tuple[Progress, dict[str, str]]:
    """Progress of a checkpoint's folder, and the SHA-256 of its other files: none from before they were recorded.

    Raises:
        OSError, ValueError: there is none, or it is damaged.
    """
    try:
        values = json.loads((path / "progress.json").read_text(encoding="utf-8"))
        digest = values.pop("digest", None)
        if digest not in (None, json_digest(values)):
            raise ValueError("its checksum does not fit")
        files = dict(values.pop("files", {}))
        return Progress(int(values.pop("step")), int(values.pop("ema_step")), **values), files
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"progress.json is damaged ({error})") from None


def _write_progress(path: Path, progress: Progress, files: dict[str, str]) -> None:
    values = {**asdict(progress), "files": files}
    write_json(path / "progress.json", {**values, "digest": json_digest(values)}, indent=None)


def keep_for_ever(path: Path) -> None:
    """Mark a checkpoint's folder, so that it is never removed."""
    progress, files = read_progress(path)
    _write_progress(path, replace(progress, kept=True), files)


def _checksums(path: Path) -> dict[str, str]:
    """SHA-256 of the files of a folder, by their path in it."""
    return {file.relative_to(path).as_posix(): file_digest(file) for file in sorted(path.rglob("*")) if file.is_file()}


def _damage(path: Path) -> tuple[str, bool]:
    """What is wrong with a checkpoint, empty if nothing is; and whether its checksums say so."""
    try:
        _, files = read_progress(path)
        for name, digest in files.items():
            if file_digest(path / name) != digest:
                return f"{name} is not what was written", True
    except (OSError, ValueError) as error:
        return str(error), True
    return "", bool(files)


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def save_checkpoint(
    folder: Path, progress: Progress, accelerator: Accelerator, average: AveragedWeights, keep: int
) -> Path:
    """Write the state and remove all but the last `keep` checkpoints and those that are kept for ever.

    Every process calls it. The name ``step-<number>`` appears only when everything has been written: a run that is
    killed while it writes leaves the checkpoint before.

    Returns:
        The folder of the checkpoint.

    Raises:
        OSError: it cannot be written (a full disk, say); what was written of it is removed, the checkpoint before stays.
    """
    step = progress.step
    final = folder / f"step-{step:08d}"
    partial = folder / f"{final.name}.partial"
    try:
        with writing(f"step {step}: checkpoint {final}", folder):
            if accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            accelerator.wait_for_everyone()
            accelerator.save_state(str(partial))
            weights = average.state()
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                save_file(weights, partial / "ema.safetensors")
                _write_progress(partial, progress, _checksums(partial))
                os.replace(partial, final)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if accelerator.is_main_process:
        for old in list_checkpoints(folder)[:-keep]:
            if not _may_go(old):
                continue
            os.replace(old, f"{old}.partial")  # so that a kill leaves no half of it under its name
        for left_over in folder.glob("step-*.partial"):
            if _NAME.fullmatch(left_over.stem):
                shutil.rmtree(left_over, ignore_errors=True)
    accelerator.wait_for_everyone()
    return final


def _may_go(path: Path) -> bool:
    """Whether a checkpoint is not kept for ever; one that cannot say so stays."""
    try:
        return not read_progress(path)[0].kept
    except (OSError, ValueError):
        return False


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Turns what torch and safetensors raise for a full disk into an OSError that names the last good checkpoint.

    Raises:
        OSError: `what` cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OSError(f"{what} cannot be written: {error_line(error, 300)}; {last_good(folder)}") from error


def last_good(folder: Path) -> str:
    """A remark on which checkpoint a run that fails leaves."""
    checkpoints = list_checkpoints(folder)
    return f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "no checkpoint was written yet"


def load_checkpoint(path: Path, accelerator: Accelerator, average: AveragedWeights) -> Progress:
    """Restore a checkpoint into the prepared objects.

    Returns:
        How far it had come.

    Raises:
        DamagedCheckpointError: the checkpoint is damaged.
        ValueError: it belongs to another model.
    """
    # One process reads the files, all hear what it found: they load the same checkpoint.
    found = [_damage(path) if accelerator.is_main_process else ("", False)]
    damage, checked = broadcast_object_list(found)[0]
    if damage:
        raise DamagedCheckpointError(f"checkpoint {path} cannot be read: {damage}")
    try:
        progress, _ = read_progress(path)
        weights = load_file(path / "ema.safetensors")
        accelerator.load_state(str(path))
        average.load_state(weights)
        average.steps = progress.ema_step
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, SafetensorError, UnpicklingError) as error:
        kind = ValueError if checked else DamagedCheckpointError
        raise kind(f"checkpoint {path} cannot be read: {error_line(error, 300)}") from error
    return progress


def find_checkpoints(folder: Path, resume: str) -> list[Path]:
    """The checkpoints that `resume` names: with ``latest`` all in `folder`, the latest first; or the one at a path.

    Raises:
        FileNotFoundError: there is none at the path.
    """
    if resume != "latest":
        path = Path(resume)
        if not (path / "progress.json").is_file():
            raise FileNotFoundError(f"no checkpoint at {path}")
        return [path]
    return list_checkpoints(folder)[::-1]


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, ``<name>.damaged``, so that nobody takes it for one."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in count())
    os.replace(path, next(name for name in names if not name.exists()))


def refuse_later(folder: Path, step: int, damaged: Sequence[Path]) -> None:
    """Refuse to go on from `step` in a folder with later checkpoints, which would be taken for this run's latest.

    Raises:
        ValueError: there are some that are not damaged.
    """
    later = [path for path in list_checkpoints(folder) if path.name > f"step-{step:08d}" and path not in damaged]
    if later:
        raise ValueError(
            f"step {step} is to be resumed, but {folder} holds {later[-1].name}: remove what is later than step {step}, or"
            " use another output folder"
        )


def export_stage(stage: Stage, folder: Path, facts: dict[str, Any]) -> None:
    """Write the stage's weights into `folder` through a temporary folder, with ``training.json`` that holds `facts`."""
    with partial_folder(folder, replace=True) as partial:
        stage.export(partial)
        write_json(partial / "training.json", {"stage": stage.name, **facts}, indent=2)
        mark_written(partial)
        carry_over(folder, partial)


def check_output(output: Path) -> None:
    """Look at a run's folder before any time is spent.

    Raises:
        ValueError: nothing can be written there, or its ``weights`` are no run's.
    """
    for folder in (output, output / "checkpoints"):
        clear_all_left_overs(folder)
    check_output_folder(output)
    weights = output / "weights"
    if weights.is_symlink() or (
        weights.exists() and not (weights / "training.json").is_file() and not _is_empty(weights)
    ):
        raise ValueError(f"{weights} exists and was not written by a run: choose another output folder")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def finished_at(output: Path) -> int | None:
    """Steps after which a run was finished, measured and exported; None where it was not."""
    try:
        found = json.loads((output / "weights" / "training.json").read_text(encoding="utf-8"))
        return int(found["step"]) if found.get("phase", "finished") == "finished" else None
    except (OSError, AttributeError, KeyError, TypeError, ValueError):  # none, or it does not say
        return None
