"""Checkpoints of a run: written to a temporary folder, then renamed; the last K are kept, and those that say so.

A checkpoint holds the stage's weights, the optimiser and the schedule (accelerate), the EMA weights
(``ema.safetensors``) and ``progress.json``. Randomness and the order of the data are keyed by (seed, step, sample), so
the step says where both stand. The names of its entries are a promise: later versions resume it.

Nothing else in a run's folder is removed: what others put beside the weights stays when these are replaced.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from imagpose.io import carry_over, check_output_folder, mark_written, partial_folder, write_json
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
    """

    step: int
    ema_step: int
    samples: int | None = None
    seconds: float = 0.0
    kept: bool = False


def read_progress(path: Path) -> Progress:
    """Progress of a checkpoint's folder.

    Raises:
        KeyError, OSError, ValueError: there is none, or it is damaged.
    """
    values = json.loads((path / "progress.json").read_text())
    return Progress(
        int(values["step"]),
        int(values["ema_step"]),
        values.get("samples"),
        values.get("seconds", 0.0),
        values.get("kept", False),
    )


def keep_for_ever(path: Path) -> None:
    """Mark a checkpoint's folder, so that it is never removed."""
    write_json(path / "progress.json", asdict(replace(read_progress(path), kept=True)), indent=None)


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
                write_json(partial / "progress.json", asdict(progress), indent=None)
                os.replace(partial, final)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if accelerator.is_main_process:
        for old in list_checkpoints(folder)[:-keep]:
            if read_progress(old).kept:
                continue
            os.replace(old, f"{old}.partial")  # so that a kill leaves no half of it under its name
        for left_over in folder.glob("step-*.partial"):
            if _NAME.fullmatch(left_over.stem):
                shutil.rmtree(left_over, ignore_errors=True)
    accelerator.wait_for_everyone()
    return final


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Turns what torch and safetensors raise for a full disk into an OSError that names the last good checkpoint.

    Raises:
        OSError: `what` cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise OSError(f"{what} cannot be written: {reason}; {last_good(folder)}") from error


def last_good(folder: Path) -> str:
    """A remark on which checkpoint a run that fails leaves."""
    checkpoints = list_checkpoints(folder)
    return f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "no checkpoint was written yet"


def load_checkpoint(path: Path, accelerator: Accelerator, average: AveragedWeights) -> Progress:
    """Restore a checkpoint into the prepared objects.

    Returns:
        How far it had come.

    Raises:
        ValueError: the checkpoint is damaged or belongs to another model.
    """
    try:
        progress = read_progress(path)
        weights = load_file(path / "ema.safetensors")
        accelerator.load_state(str(path))
        average.load_state(weights)
        average.steps = progress.ema_step
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, SafetensorError, UnpicklingError) as error:
        raise ValueError(f"checkpoint {path} cannot be read: {' '.join(str(error).split())[:300]}") from error
    return progress


def find_checkpoint(folder: Path, resume: str) -> Path | None:
    """The checkpoint that `resume` names: ``latest`` in `folder`, None where there is none yet; or the path of one.

    Raises:
        FileNotFoundError: there is none at the path.
    """
    if resume != "latest":
        path = Path(resume)
        if not (path / "progress.json").is_file():
            raise FileNotFoundError(f"no checkpoint at {path}")
        return path
    return next(reversed(list_checkpoints(folder)), None)


def refuse_later(folder: Path, step: int) -> None:
    """Refuse to go on from `step` in a folder with later checkpoints, which would be taken for this run's latest.

    Raises:
        ValueError: there are some.
    """
    later = [path for path in list_checkpoints(folder) if path.name > f"step-{step:08d}"]
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
    facts = output / "weights" / "training.json"
    found = json.loads(facts.read_text()) if facts.is_file() else {}
    return int(found["step"]) if found.get("phase", "finished") == "finished" and "step" in found else None
