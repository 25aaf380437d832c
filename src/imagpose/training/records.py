"""What a run shows: progress bar (or plain lines where the output is no terminal), TensorBoard, Weights & Biases."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from imagpose.training.config import RunConfig
from imagpose.training.stage import Stage


class Records:
    """Records of one sitting; silent on all but the main process."""

    def __init__(self, config: RunConfig, stage: Stage, step: int, process: int, num_processes: int) -> None:
        self.config = config
        self.stage = stage
        self.main_process = process == 0
        self.samples_per_step = stage.samples_per_batch * config.gradient_accumulation * num_processes
        self.console = Console(stderr=True)
        self.first_step = step
        self.loss = float("nan")
        self._reset_window(step)

    def __enter__(self) -> Records:
        if self.main_process:
            self.wandb = start_wandb(self.config)
            self.writer = SummaryWriter(str(self.config.output / "tensorboard"), purge_step=self.first_step + 1)
            self.progress = Progress(
                TextColumn(f"{self.stage.name}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:.1f} samples/s  left"),
                TimeRemainingColumn(),
                console=self.console,
                disable=not self.console.is_terminal,
            )
            self.progress.start()
            self.task = self.progress.add_task(
                "", total=self.config.steps, completed=self.first_step, loss=0.0, rate=0.0
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.main_process:
            self.progress.stop()
            self.writer.close()
            if self.wandb is not None:
                self.wandb.finish()

    def begin_step(self) -> None:
        """A step starts."""
        self.step_started = time.perf_counter()

    @contextmanager
    def assembling_batch(self) -> Iterator[None]:
        """Time outside the networks."""
        started = time.perf_counter()
        yield
        self.assembling += time.perf_counter() - started

    def end_step(self, step: int, loss: float, scalars: dict[str, Any]) -> None:
        """`step` steps are done."""
        self.stepping += time.perf_counter() - self.step_started
        self.losses.append(loss)
        if not self.main_process:
            return
        every = self.config.log_every
        if step % every == 0 or step == self.config.steps:
            self.loss = float(np.mean(self.losses))
            rate = len(self.losses) * self.samples_per_step / self.stepping
            values = {name: float(value) for name, value in scalars.items()}
            values |= {"loss": self.loss, "samples_per_second": rate, "batch_share": self.assembling / self.stepping}
            self._scalars("train", values, step)
            self.progress.update(self.task, completed=step, loss=self.loss, rate=rate)
            self._line(step, values)
            self._reset_window(step)
        elif self.console.is_terminal:
            rate = len(self.losses) * self.samples_per_step / self.stepping
            self.progress.update(self.task, completed=step, loss=float(np.mean(self.losses)), rate=rate)

    def validation(self, step: int, measures: dict[str, float]) -> None:
        """Measures on held-out people."""
        if not measures:
            return
        self._scalars("validation", measures, step)
        self.writer.flush()
        self.console.print(f"{self.stage.name} step {step} validation: {_text(measures)}", highlight=False)

    def picture(self, step: int, picture: np.ndarray | None) -> None:
        """Sample grid, uint8 (H, W, 3)."""
        if picture is not None:
            self.writer.add_image("samples", picture, step, dataformats="HWC")
            self.writer.flush()
            if self.wandb is not None:
                self.wandb.log({"samples": import_wandb().Image(picture)}, step=step)

    def _scalars(self, group: str, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{group}/{name}", value, step)
        if self.wandb is not None:
            self.wandb.log({f"{group}/{name}": value for name, value in values.items()}, step=step)

    def _line(self, step: int, values: dict[str, float]) -> None:
        if not self.console.is_terminal:
            left = (self.config.steps - step) * self.stepping / len(self.losses)
            self.console.print(
                f"{self.stage.name} step {step}/{self.config.steps}: {_text(values)}, {left / 60:.0f} min left",
                highlight=False,
                soft_wrap=True,
            )

    def _reset_window(self, step: int) -> None:
        self.losses: list[float] = []
        self.assembling = 0.0
        self.stepping = 0.0


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
