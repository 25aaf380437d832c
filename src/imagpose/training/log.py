"""What a run shows: progress bar (or plain lines where the output is no terminal), TensorBoard, Weights & Biases."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from imagpose.io import partial_file, write_text
from imagpose.training.configs import RunConfig
from imagpose.training.stage import ProgressReport, Stage


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        step: optimiser steps done.
        samples: samples seen, those of the run that it started from included.
        seconds: time spent in steps, of all sittings.
        skipped: steps left out, of all sittings, because loss or gradient was not finite.
        reason: "finished", "stopped" (time is up) or "interrupted" (SIGINT, SIGTERM).
        losses: loss of each step of this sitting.
        validation: last measures on held-out people.
    """

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    skipped: int = 0
    reason: str = "finished"
    losses: list[float] = field(default_factory=list)
    validation: dict[str, float] = field(default_factory=dict)

    def require_finished(self, name: str) -> None:
        """Raises `InterruptedError` if the run of this name was stopped."""
        if self.reason != "finished":
            raise InterruptedError(f"{name} {self.reason} at step {self.step}: the same command continues")


class Records:
    """Records of one sitting; silent on all but the main process."""

    def __init__(self, config: RunConfig, stage: Stage, outcome: Outcome, process: int) -> None:
        """`outcome` is the run's own: it says at any time how far the run has come."""
        self.config = config
        self.stage = stage
        self.outcome = outcome
        self.main_process = process == 0
        self.console = Console(stderr=True)
        self._reset_window()

    def __enter__(self) -> Records:
        if self.main_process:
            self.wandb = start_wandb(self.config)
            self.writer = SummaryWriter(str(self.config.output / "tensorboard"), purge_step=self.outcome.step + 1)
            self.progress = Progress(
                TextColumn(f"{self.stage.name}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(
                    "loss {task.fields[loss]:.4f}  {task.fields[rate]:.1f} " + f"{self.stage.sample_name}/s  left"
                ),
                TimeRemainingColumn(),
                console=self.console,
                disable=not self.console.is_terminal,
            )
            self.progress.start()
            self.task = self.progress.add_task(
                "", total=self.config.steps, completed=self.outcome.step, loss=0.0, rate=0.0
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.main_process:
            self.progress.stop()
            self.writer.close()
            if self.wandb is not None:
                self.wandb.finish()

    @contextmanager
    def assembling_batch(self) -> Iterator[None]:
        """Time outside the networks."""
        started = time.perf_counter()
        yield
        self.assembling += time.perf_counter() - started

    def end_step(self, means: dict[str, float], learning_rate: float, seconds: float, samples: int) -> None:
        """A step is done; its scalars are recorded as means over the steps since the last record.

        Args:
            means: ``loss`` and other scalars, each a mean over the global batch; none of a step that was left out.
            learning_rate: of the step to come.
            seconds: what the step took.
            samples: of all processes.
        """
        self.stepping += seconds
        self.samples += samples
        self.steps += 1
        for name, value in means.items():
            self.values.setdefault(name, []).append(value)
        if not self.main_process:
            return
        step, rate = self.outcome.step, self.samples / self.stepping
        if step % self.config.log_every == 0 or step == self.config.steps:
            window = {"loss": math.nan} | {name: float(np.mean(values)) for name, values in self.values.items()}
            window |= {"learning_rate": learning_rate}
            shares = {"samples_per_second": rate, "batch_share": self.assembling / self.stepping}
            self._scalars("train", {**window, **shares, "samples": float(self.outcome.samples)})
            self.progress.update(self.task, completed=step, loss=window["loss"], rate=rate)
            self._line(window, rate)
            self._reset_window()
        elif self.console.is_terminal and "loss" in self.values:
            self.progress.update(self.task, completed=step, loss=float(np.mean(self.values["loss"])), rate=rate)

    def skipped_step(self, report: str) -> None:
        """A step was left out: a line, and how many there have been."""
        if self.main_process:
            self._scalars("train", {"skipped_steps": float(self.outcome.skipped)})
            self._say(report)

    def validation(self, measures: dict[str, float]) -> None:
        """Measures on held-out people."""
        if not measures:
            return
        self._scalars("validation", measures)
        self.writer.flush()
        self._say(f"step {self.outcome.step} validation: {_text(measures)}")

    def picture(self, picture: np.ndarray | None) -> None:
        """Sample grid, uint8 (H, W, 3)."""
        if picture is not None:
            step = self.outcome.step
            self.writer.add_image("samples", picture, step, dataformats="HWC")
            self.writer.flush()
            if self.wandb is not None:
                self.wandb.log({"samples": import_wandb().Image(picture)}, step=step)

    def progress_row(self, report: ProgressReport, learning_rate: float) -> None:
        """Picture and row of the curve: ``<output>/progress/<samples>.png`` and ``<output>/progress.csv``."""
        folder, outcome = self.config.output / "progress", self.outcome
        folder.mkdir(parents=True, exist_ok=True)
        with partial_file(folder / f"{outcome.samples:08d}.png") as partial:
            Image.fromarray(report.picture).save(partial, format="PNG")
        row: dict[str, float] = {
            self.stage.sample_name: outcome.samples,
            "seconds": round(outcome.seconds),
            "learning_rate": learning_rate,
        }
        append_row(self.config.output / "progress.csv", row | report.measures)
        self._scalars("progress", report.measures)
        self._say(f"progress at {outcome.samples:,} {self.stage.sample_name}: {_text(report.measures)}")

    def _say(self, text: str) -> None:
        """A line that says which stage it is about."""
        self.console.print(f"{self.stage.name} {text}", highlight=False, soft_wrap=True)

    def _scalars(self, group: str, values: dict[str, float]) -> None:
        step = self.outcome.step
        for name, value in values.items():
            self.writer.add_scalar(f"{group}/{name}", value, step)
        if self.wandb is not None:
            self.wandb.log({f"{group}/{name}": value for name, value in values.items()}, step=step)

    def _line(self, window: dict[str, float], rate: float) -> None:
        if self.console.is_terminal:
            return
        outcome, steps, name = self.outcome, self.config.steps, self.stage.sample_name
        known = {"loss": window["loss"]}
        known |= {f"validation {key}": value for key, value in outcome.validation.items() if key == "loss"}
        left = (steps - outcome.step) * self.stepping / self.steps
        self._say(
            f"step {outcome.step}/{steps}: {outcome.samples:,} {name}, {rate:.2f} {name}/s, {_text(known | window)},"
            f" {left / 60:.0f} min left"
        )

    def _reset_window(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.steps = 0
        self.samples = 0
        self.assembling = 0.0
        self.stepping = 0.0


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add a row to a CSV whose header is the row's names; a kill leaves the file with or without the row.

    The first column counts upwards: a run that goes on from a checkpoint replaces the rows that it had written after it.
    A file with another header is set aside as ``<name>-<number>.csv``, so that no value stands under a wrong name.

    Raises:
        ValueError: a file that is damaged; the message names it.
    """
    try:
        _append_row(path, row)
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); move it away to go on without its rows") from None


def _append_row(path: Path, row: dict[str, float]) -> None:
    header = ",".join(row)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if lines and lines[0] != header:
        numbers = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))
        path.rename(next(other for other in numbers if not other.exists()))
        lines = []
    earlier = [line for line in lines[1:] if float(line.split(",")[0]) < next(iter(row.values()))]
    written = ",".join(f"{value:.6g}" if value % 1 else f"{value:.0f}" for value in row.values())
    write_text(path, "\n".join([header, *earlier, written]) + "\n")


def import_wandb() -> Any:
    """The package of Weights & Biases.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return import_module("wandb")
    except ImportError:
        raise ValueError(
            "wandb names a project, but the package is missing: pip install wandb, or leave it out"
        ) from None


def start_wandb(config: RunConfig) -> Any | None:
    """The record of this run in the project that the configuration names; None without one.

    A resumed run continues its record. Errors as `import_wandb`.
    """
    if config.wandb is None:
        return None
    name = hashlib.sha256(str(config.output.resolve()).encode()).hexdigest()[:16]
    settings = config.model_dump(mode="json")
    return import_wandb().init(
        project=config.wandb, id=name, name=config.output.name, dir=config.output, resume="allow", config=settings
    )


def _text(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
