"""The training loop that the three stages share.

What must survive an interruption is listed in `checkpoints.py`; a batch depends on (seed, step, process) only, so a
resumed run repeats the uninterrupted one exactly.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import set_seed
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel

from imagpose.training.cache import check_split, render_views
from imagpose.training.checkpoints import find_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from imagpose.training.config import RunConfig
from imagpose.training.records import Records
from imagpose.training.stage import Stage


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        step: optimiser steps done.
        reason: "finished", "stopped" (time is up) or "interrupted" (SIGINT, SIGTERM).
        losses: loss of each step of this sitting.
        validation: last measures on held-out people.
    """

    step: int = 0
    reason: str = "finished"
    losses: list[float] = field(default_factory=list)
    validation: dict[str, float] = field(default_factory=dict)


def prepare_run(config: RunConfig) -> None:
    """Set the threads, check the seeds, render the views that are missing.

    Raises:
        ValueError: identities outside of their split, or a cache that was made with other settings.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    check_split(config.data, config.validation)
    with main_process_first():
        for views in (config.data, config.validation):
            render_views(views)


def main_process_first() -> AbstractContextManager[None]:
    """Let the main process make what all processes then find made; it may take hours."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(hours=24)).main_process_first()


class Training:
    """One run of a stage: built, optionally resumed, then `run`."""

    def __init__(self, stage: Stage, config: RunConfig, resume: str | None = None) -> None:
        """Prepare the run.

        Args:
            stage: what is trained.
            config: length, optimiser, records.
            resume: None, "latest" or the folder of a checkpoint.

        Raises:
            FileNotFoundError: nothing to resume.
            ValueError: the output folder already holds checkpoints and `resume` is None, or a damaged checkpoint.
        """
        self.config = config
        self.folder = config.output / "checkpoints"
        if resume is None and list_checkpoints(self.folder):
            raise ValueError(f"{config.output} already holds a run: use --resume latest, or another output folder")
        self.accelerator = Accelerator(
            mixed_precision="bf16" if config.precision == "bf16" else "no",
            cpu=not torch.cuda.is_available(),
            step_scheduler_with_optimizer=False,
        )
        set_seed(config.seed)
        optimizer = torch.optim.AdamW(stage.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        schedule = get_scheduler(
            config.lr_schedule, optimizer, num_warmup_steps=config.warmup_steps, num_training_steps=config.steps
        )
        self.stage = stage
        self.prepared, self.optimizer, self.schedule = self.accelerator.prepare(stage, optimizer, schedule)
        self.ema = EMAModel(stage.parameters(), decay=config.ema_decay, foreach=True)
        self.ema.to(self.accelerator.device)
        self.outcome = Outcome()
        if resume is not None:
            path = find_checkpoint(self.folder, resume)
            self.outcome.step = load_checkpoint(path, self.accelerator, self.prepared, self.ema)

    def run(self, stop_after: float | None = None) -> Outcome:
        """Train until the last step, until `stop_after` seconds have passed, or until SIGINT or SIGTERM.

        A checkpoint and the EMA weights (``<output>/weights``) are written at the end, whatever the reason.

        Raises:
            FloatingPointError: loss or gradient is not finite; nothing is written, the last checkpoint stays.
        """
        config, outcome = self.config, self.outcome
        started = time.monotonic()
        accelerator = self.accelerator
        records = Records(config, self.stage, outcome.step, accelerator.process_index, accelerator.num_processes)
        with _stop_requests() as requests, records:
            while outcome.step < config.steps:
                outcome.losses.append(self._step(outcome.step, records))
                outcome.step += 1
                self._regular_work(records)
                if requests:
                    outcome.reason = "interrupted"
                elif stop_after is not None and time.monotonic() - started >= stop_after:
                    outcome.reason = "stopped"
                if self._any_process(outcome.reason != "finished"):
                    break
            self._save()
            if outcome.reason == "finished":
                outcome.validation = self._validate(records)
            self._export()
        return outcome

    def _step(self, step: int, records: Records) -> float:
        """One optimiser step; returns the loss."""
        records.begin_step()
        batch = self.stage.batch(step, self.accelerator.process_index)
        batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        records.batch_ready()
        self.prepared.train()
        loss, scalars = self.prepared(batch)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.config.gradient_clip)
        loss_value, norm_value = float(loss.detach()), float(norm)
        if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
            checkpoints = list_checkpoints(self.folder)
            last = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "no checkpoint was written yet"
            raise FloatingPointError(
                f"step {step}: loss {loss_value}, gradient norm {norm_value}; training stopped, {last}"
            )
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.stage.parameters())
        rate = self.schedule.get_last_lr()[0]
        records.end_step(step + 1, loss_value, {**scalars, "gradient_norm": norm_value, "learning_rate": rate})
        return loss_value

    def _regular_work(self, records: Records) -> None:
        config, step = self.config, self.outcome.step
        if step % config.checkpoint_every == 0 and step < config.steps:
            self._save()
        if step % config.validate_every == 0 and step < config.steps:
            self.outcome.validation = self._validate(records)
        if step % config.sample_every == 0 and self.accelerator.is_main_process:
            with self._ema_weights():
                records.picture(step, self.stage.sample_grid())

    def _validate(self, records: Records) -> dict[str, float]:
        if not self.accelerator.is_main_process:
            return {}
        with self._ema_weights():
            measures = self.stage.validate()
        records.validation(self.outcome.step, measures)
        return measures

    def _save(self) -> None:
        save_checkpoint(
            self.folder, self.outcome.step, self.accelerator, self.prepared, self.ema, self.config.keep_checkpoints
        )

    def _export(self) -> None:
        """Replace ``<output>/weights`` by the EMA weights."""
        if self.accelerator.is_main_process:
            with self._ema_weights():
                export_stage(self.stage, self.config.output / "weights", {"step": self.outcome.step})
        self.accelerator.wait_for_everyone()

    @contextmanager
    def _ema_weights(self) -> Iterator[None]:
        """The stage with EMA weights, in evaluation mode, without gradients, in the run's precision."""
        parameters = list(self.stage.parameters())
        self.ema.store(parameters)
        self.ema.copy_to(parameters)
        self.stage.eval()
        try:
            with torch.no_grad(), self.accelerator.autocast():
                yield
        finally:
            self.ema.restore(parameters)

    def _any_process(self, flag: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return flag
        flags = self.accelerator.gather(torch.tensor([int(flag)], device=self.accelerator.device))
        return bool(flags.any())


def export_stage(stage: Stage, folder: Path, facts: dict[str, Any]) -> None:
    """Write the stage's weights into `folder` through a temporary folder, with ``training.json`` that holds `facts`."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    stage.export(partial)
    (partial / "training.json").write_text(json.dumps({"stage": stage.name, **facts}, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying, so that the step is finished and a checkpoint written."""
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda received_number, _: received.append(received_number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
