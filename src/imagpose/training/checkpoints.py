"""Checkpoints of a run: written to a temporary folder, then renamed; the last K are kept.

A checkpoint holds the stage's weights, the optimiser and the schedule (accelerate), the EMA weights
(``ema.safetensors``) and ``progress.json``. Randomness is keyed by (seed, step), so no generator state belongs to it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from pickle import UnpicklingError

from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

_NAME = re.compile(r"step-(\d{8})")


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def save_checkpoint(
    folder: Path, step: int, accelerator: Accelerator, stage: nn.Module, ema: EMAModel, keep: int
) -> Path:
    """Write the state after `step` steps and remove all but the last `keep` checkpoints.

    Every process calls it. The name ``step-<number>`` appears only when everything has been written: a run that is
    killed while it writes leaves the checkpoint before.

    Returns:
        The folder of the checkpoint.
    """
    final = folder / f"step-{step:08d}"
    partial = folder / f"{final.name}.partial"
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(partial))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        names = [name for name, _ in accelerator.unwrap_model(stage).named_parameters()]
        save_file(dict(zip(names, ema.shadow_params, strict=True)), partial / "ema.safetensors")
        (partial / "progress.json").write_text(json.dumps({"step": step, "ema_step": ema.optimization_step}))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        for old in list_checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
        for left_over in folder.glob("*.partial"):
            shutil.rmtree(left_over, ignore_errors=True)
    accelerator.wait_for_everyone()
    return final


def load_checkpoint(path: Path, accelerator: Accelerator, stage: nn.Module, ema: EMAModel) -> int:
    """Restore a checkpoint into the prepared objects.

    Returns:
        The number of steps done.

    Raises:
        ValueError: the checkpoint is damaged or belongs to another model.
    """
    try:
        progress = json.loads((path / "progress.json").read_text())
        weights = load_file(path / "ema.safetensors")
        accelerator.load_state(str(path))
        load_ema(weights, accelerator.unwrap_model(stage), ema)
        ema.optimization_step = int(progress["ema_step"])
        return int(progress["step"])
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, SafetensorError, UnpicklingError) as error:
        raise ValueError(f"checkpoint {path} cannot be read: {' '.join(str(error).split())[:300]}") from error


def load_ema(weights: dict, stage: nn.Module, ema: EMAModel) -> None:
    """Copy EMA weights, named as the stage's parameters, into `ema`."""
    for (name, _), shadow in zip(stage.named_parameters(), ema.shadow_params, strict=True):
        shadow.data.copy_(weights[name])


def find_checkpoint(folder: Path, resume: str) -> Path:
    """The checkpoint that `resume` names: ``latest``, or the path of one.

    Raises:
        FileNotFoundError: there is none.
    """
    if resume != "latest":
        path = Path(resume)
        if not (path / "progress.json").is_file():
            raise FileNotFoundError(f"no checkpoint at {path}")
        return path
    checkpoints = list_checkpoints(folder)
    if not checkpoints:
        raise FileNotFoundError(f"no checkpoint to resume in {folder}")
    return checkpoints[-1]
