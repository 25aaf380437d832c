"""The training loop that the three stages share.

What must survive an interruption is listed in `checkpoints.py`; a batch depends on (seed, step, samples) only, so a
resumed run repeats the uninterrupted one exactly.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed

from imagpose.io import clear_partial_files, locked_folder
from imagpose.training.batches import batch_loader, samples_of
from imagpose.training.checkpoints import (
    DamagedCheckpointError,
    Progress,
    export_stage,
    find_checkpoints,
    keep_for_ever,
    last_good,
    list_checkpoints,
    load_checkpoint,
    refuse_later,
    save_checkpoint,
    set_aside,
    writing,
)
from imagpose.training.configs import RunConfig
from imagpose.training.ema import AveragedWeights
from imagpose.training.log import Outcome, Records
from imagpose.training.processes import build_accelerator, global_batch, whole
from imagpose.training.schedule import build_schedule, schedule_phase, take_rates
from imagpose.training.stage import Batch, Stage, compile_networks, on_device
from imagpose.training.stopping import StopRequests

_REASONS = ("finished", "stopped", "interrupted")
_SHOWN_ITEMS = 16


class Training:
    """One run of a stage: built, optionally resumed, then `run`."""

    def __init__(
        self, stage: Stage, config: RunConfig, resume: str | None = None, requests: StopRequests | None = None
    ) -> None:
        """Prepare the run.

        Args:
            stage: what is trained.
            config: length, optimiser, records.
            resume: None, "latest" (from the start, where there is no checkpoint yet; a damaged one gives way to the one
                before it) or the folder of a checkpoint.
            requests: what has been noted before the run.

        Raises:
            FileNotFoundError: no checkpoint in the folder that `resume` names.
            ValueError: the output folder already holds checkpoints and `resume` is None, or later ones than what is
                resumed; a damaged checkpoint, or another model's; or see `build_accelerator` and `Stage.optimizer`.
        """
        self.config = config
        self.folder = config.output / "checkpoints"
        if resume is None and list_checkpoints(self.folder):
            raise ValueError(f"{config.output} already holds a run: use --resume latest, or another output folder")
        self.accelerator = build_accelerator(config)
        set_seed(config.seed)
        optimizer = stage.optimizer(config)
        schedule = build_schedule(config, optimizer)
        self.stage = stage
        self.average = AveragedWeights(stage, config.ema_decay, self.accelerator, config.ema_every, config.ema_on_cpu)
        if config.compile and stage.compilable():
            reason = compile_networks(stage.compilable(), self.accelerator.device)
            if reason is not None:
                self.accelerator.print(f"compile: no compiler, going on uncompiled ({reason})", file=sys.stderr)
        self.prepared, self.optimizer, self.schedule = self.accelerator.prepare(stage, optimizer, schedule)
        self.average.start()
        self.outcome = Outcome(samples=stage.samples_before)
        self.requests = requests or StopRequests()
        self._damaged: list[Path] = []
        self._exported_at = time.monotonic()
        self._saved_step: int | None = None
        self._found = list_checkpoints(self.folder)
        if resume is not None:
            self._resume(resume)

    def _resume(self, resume: str) -> None:
        paths = find_checkpoints(self.folder, resume)
        if not paths:
            self.accelerator.print(f"no checkpoint in {self.config.output} yet: starting at step 0", file=sys.stderr)
            return
        path, progress = self._first_whole(paths)
        step = progress.step
        refuse_later(self.folder, step, self._damaged)
        self.outcome.step = self._saved_step = step
        self.outcome.seconds, self.outcome.skipped = progress.seconds, progress.skipped
        uncounted = self.stage.samples_before + step * global_batch(self.config)
        self.outcome.samples = uncounted if progress.samples is None else progress.samples
        if self._is_kept(step) and self.accelerator.is_main_process:
            keep_for_ever(path)
        if take_rates(self.schedule.scheduler, self.optimizer, self.config):
            self.accelerator.print(
                f"step {step} lies in the decay of a shorter run: the learning rate rises again; without that the run"
                " goes on from the checkpoint that was kept from before the decay",
                file=sys.stderr,
            )

    def _first_whole(self, paths: list[Path]) -> tuple[Path, Progress]:
        """Restore the first checkpoint that is not damaged; what was damaged is set aside when the run begins."""
        for path, before in zip(paths, [*paths[1:], None], strict=True):
            try:
                return path, load_checkpoint(path, self.accelerator, self.average)
            except DamagedCheckpointError as error:
                if before is None:
                    raise
                self._damaged.append(path)
                self.accelerator.print(f"{error}; going back to {before.name}", file=sys.stderr)
        raise AssertionError("no checkpoint")

    def run(self, stop_after: float | None = None) -> Outcome:
        """Train until the last step, until `stop_after` seconds have passed, or until SIGINT or SIGTERM.

        A checkpoint and the EMA weights (``<output>/weights``) are written at the end, whatever the reason. A signal
        also ends what is being measured, which is then not recorded.

        Raises:
            FloatingPointError: loss or gradient is not finite, more often than the configuration lets pass; nothing is
                written, the last checkpoint stays.
            OSError: a checkpoint or the weights cannot be written, those before stay; or another run writes the folder.
        """
        config, outcome = self.config, self.outcome
        started = time.monotonic()
        accelerator = self.accelerator
        records = Records(config, self.stage, outcome, accelerator.process_index)
        with self._alone(), self.requests as requests, records:
            if accelerator.is_main_process:
                for path in self._damaged:
                    set_aside(path)
                clear_partial_files(config.output)
            batches = iter(batch_loader(self.stage, config, outcome.step, accelerator))
            while outcome.step < config.steps:
                before = outcome.samples
                outcome.losses.append(self._step(outcome.step, batches, records))
                self._regular_work(records, outcome.samples // config.progress_every > before // config.progress_every)
                time_is_up = stop_after is not None and time.monotonic() - started >= stop_after
                time_is_up &= outcome.step < config.steps
                outcome.reason = self._agreed(
                    "interrupted" if requests.received else "stopped" if time_is_up else "finished"
                )
                if outcome.reason != "finished":
                    break
            self._save()
            if outcome.reason == "finished":
                self._validate(records)
                self._measure_progress(records)
                if requests.received:
                    outcome.reason = "interrupted"
            self._export(complete=outcome.reason == "finished")
        return outcome

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The folder is this run's, and holds what the run has begun with; the main process looks."""
        if not self.accelerator.is_main_process:
            yield
            return
        with locked_folder(self.config.output):
            if list_checkpoints(self.folder) != self._found:
                raise BlockingIOError(f"another process has meanwhile trained in {self.config.output}: start again")
            yield

    def _step(self, step: int, batches: Iterator[Batch], records: Records) -> float:
        """One optimiser step; returns the loss, a mean over the global batch."""
        parts = self.config.gradient_accumulation
        found: list[dict[str, torch.Tensor]] = []
        samples = 0
        started = time.perf_counter()
        self.prepared.train()
        buffers = [buffer.clone() for buffer in self.stage.buffers()] if self.config.skip_nonfinite_steps else []
        for part in range(parts):
            with records.assembling_batch():
                batch = on_device(next(batches), self.accelerator.device)
            with nullcontext() if part == parts - 1 else self.accelerator.no_sync(self.prepared):
                with self.accelerator.autocast():
                    loss, scalars = self.prepared(batch)
                self.accelerator.backward(loss / parts)
            found.append({"loss": loss.detach(), **scalars})
            samples += self.stage.samples_in(batch)
        norm = float(whole(self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.config.gradient_clip)))
        means, samples = self._reduced(found, samples)
        finite = self._is_finite(means["loss"], norm)
        if finite:
            self.optimizer.step()
            if not self.optimizer.step_was_skipped:
                self.schedule.step()
                self.average.step()
        else:
            records.skipped_step(self._skip(step, means["loss"], norm, found, buffers))
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - started
        self.outcome.step += 1
        self.outcome.samples += samples
        self.outcome.seconds += seconds
        recorded = {**means, "gradient_norm": norm} if finite else {}
        records.end_step(recorded, self.schedule.get_last_lr()[0], seconds, samples)
        return means["loss"]

    def _reduced(self, found: list[dict[str, torch.Tensor]], samples: int) -> tuple[dict[str, float], int]:
        """Means over accumulated batches and processes of what each batch gives, and the samples of all processes."""
        names = list(found[0])
        means = torch.stack([torch.stack([own[name].float() for name in names]) for own in found]).mean(dim=0)
        # One transfer between processes, and one from the device.
        *values, mean_samples = self.accelerator.reduce(
            torch.cat([means, means.new_tensor([samples])]), "mean"
        ).tolist()
        return dict(zip(names, values, strict=True)), round(mean_samples * self.accelerator.num_processes)

    def _is_finite(self, loss: float, norm: float) -> bool:
        """With fp16 a gradient may overflow: accelerate then skips the step and halves the loss's scale."""
        scaler = self.accelerator.scaler
        overflow_is_tried_again = scaler is not None and scaler.get_scale() > 1.0
        return math.isfinite(loss) and (math.isfinite(norm) or overflow_is_tried_again)

    def _skip(
        self, step: int, loss: float, norm: float, found: list[dict[str, torch.Tensor]], buffers: list[torch.Tensor]
    ) -> str:
        """Leave a step out whose loss or gradient is not finite, as if it had not been: returns what there is to say of it.

        Args:
            step: its number.
            loss, norm: over the global batch.
            found: losses of this process's batches.
            buffers: the stage's before the step; running statistics have taken up what was not finite.

        Raises:
            FloatingPointError: it is one more than the configuration allows.
        """
        config, outcome = self.config, self.outcome
        rate = self.schedule.get_last_lr()[0]
        report = (
            f"step {step}: loss {loss}, gradient norm {norm}, learning rate {rate:g}, {self._suspects(step, found)}"
        )
        if outcome.skipped >= config.skip_nonfinite_steps:
            before = f" after {outcome.skipped} that were skipped" if outcome.skipped else ""
            raise FloatingPointError(f"{report}; training stopped{before}, {last_good(self.folder)}")
        outcome.skipped += 1
        for buffer, value in zip(self.stage.buffers(), buffers, strict=True):
            buffer.copy_(value)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.update()  # which it asks for before gradients are unscaled again
        return f"{report}; skipped, {outcome.skipped} of at most {config.skip_nonfinite_steps}"

    def _suspects(self, step: int, found: list[dict[str, torch.Tensor]]) -> str:
        """What the batches of this process showed whose loss is not finite; all of them where only the gradient is not."""
        accelerator, broken = self.accelerator, [not bool(own["loss"].isfinite()) for own in found]
        if accelerator.num_processes > 1 and not any(broken):
            return f"process {accelerator.process_index} has a finite loss"
        parts = [part for part, is_broken in enumerate(broken) if is_broken or not any(broken)]
        items = [
            item
            for part in parts
            for item in self.stage.items(
                step, samples_of(self.config, part, accelerator.process_index, accelerator.num_processes)
            )
        ]
        more = f", and {len(items) - _SHOWN_ITEMS} more" if len(items) > _SHOWN_ITEMS else ""
        return f"batch of {', '.join(items[:_SHOWN_ITEMS])}{more}"

    def _regular_work(self, records: Records, progress_is_due: bool) -> None:
        config, step = self.config, self.outcome.step
        if step < config.steps:
            if step % config.checkpoint_every == 0 or self._is_kept(step):
                self._save()
            if step % config.validate_every == 0:
                self._validate(records)
            if progress_is_due:
                self._measure_progress(records)
        if config.export_minutes is not None and step < config.steps:
            due = time.monotonic() - self._exported_at >= 60 * config.export_minutes
            if self._most(int(due)):
                self._export()
        if step % config.sample_every == 0:
            with self.average.used() as stage:
                if self.accelerator.is_main_process:
                    records.picture(self.requests.unless_stopped(stage.sample_grid))

    def _validate(self, records: Records) -> None:
        with self.average.used() as stage:
            if not self.accelerator.is_main_process:
                return
            measures = self.requests.unless_stopped(stage.validate)
        if measures is not None:
            self.outcome.validation = measures
            records.validation(measures)

    def _measure_progress(self, records: Records) -> None:
        with self.average.used() as stage:
            if not self.accelerator.is_main_process:
                return
            report = self.requests.unless_stopped(stage.measure_progress)
        if report is not None:
            with writing(f"step {self.outcome.step}: progress in {self.config.output}", self.folder):
                records.progress_row(report, self.schedule.get_last_lr()[0])

    def _is_kept(self, step: int) -> bool:
        return self.config.lr_schedule == "hold_decay" and step == self.config.decay_start

    def _save(self) -> None:
        outcome = self.outcome
        if self._saved_step == outcome.step:
            return
        kept = self._is_kept(outcome.step)
        progress = Progress(outcome.step, self.average.steps, outcome.samples, outcome.seconds, kept, outcome.skipped)
        save_checkpoint(self.folder, progress, self.accelerator, self.average, self.config.keep_checkpoints)
        self._saved_step = outcome.step

    def _export(self, complete: bool = False) -> None:
        """Replace ``<output>/weights`` by the EMA weights; `complete`: with them the run is finished, and measured."""
        with self.average.used() as stage:
            if self.accelerator.is_main_process:
                with writing(f"step {self.outcome.step}: weights in {self.config.output}", self.folder):
                    export_stage(stage, self.config.output / "weights", self._facts(complete))
        self.accelerator.wait_for_everyone()
        self._exported_at = time.monotonic()

    def _facts(self, complete: bool) -> dict[str, Any]:
        """What ``training.json`` says of the weights beside it; a run that was stopped in its last step can go on."""
        outcome, last = self.outcome, self.config.steps - 1
        return {
            "step": outcome.step,
            "steps": self.config.steps,
            "phase": schedule_phase(self.config, outcome.step if complete else min(outcome.step, last)),
            self.stage.sample_name: outcome.samples,
            "seconds": round(outcome.seconds),
            **({"skipped_steps": outcome.skipped} if outcome.skipped else {}),
        }

    def _agreed(self, reason: str) -> str:
        """The gravest of all processes' reasons to end, so that they end together."""
        return _REASONS[self._most(_REASONS.index(reason))]

    def _most(self, number: int) -> int:
        """The largest of all processes' numbers."""
        if self.accelerator.num_processes == 1:
            return number
        return int(self.accelerator.gather(torch.tensor([number], device=self.accelerator.device)).max())
