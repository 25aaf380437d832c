"""From a configuration file to a finished run: what the commands call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from imagpose.training.cache import check_split, render_views
from imagpose.training.checkpoints import check_output, finished_at
from imagpose.training.configs import RunConfig, ViewCacheConfig, ViewsRunConfig, load_config
from imagpose.training.log import Outcome, import_wandb
from imagpose.training.loop import Training
from imagpose.training.processes import accumulating, main_process_first, run_device
from imagpose.training.stage import Stage
from imagpose.training.stopping import StopRequests

ConfigT = TypeVar("ConfigT", bound=RunConfig)
ViewsT = TypeVar("ViewsT", bound=ViewsRunConfig)


@dataclass(frozen=True)
class Trainer(Generic[ConfigT]):
    """Trains one kind of stage.

    Attributes:
        config: what its configuration files hold.
        build: makes what the run needs and is missing (views, caches), then the stage.
        complete: puts in what a configuration leaves to its data, such as the steps of an epoch.
    """

    config: type[ConfigT]
    build: Callable[[ConfigT], Stage]
    complete: Callable[[ConfigT], ConfigT] | None = None

    def __call__(
        self,
        config_path: str | Path,
        overrides: list[str] | None = None,
        resume: str | None = None,
        stop_after: float | None = None,
    ) -> Outcome:
        """Train, write ``<output>/weights``. SIGINT and SIGTERM also end what is made before; see `Training.run`.

        Args:
            config_path: YAML of `config`.
            overrides: ``key=value`` replacements.
            resume: None, "latest" (nothing is done where the run is finished) or the folder of a checkpoint.
            stop_after: seconds after which a checkpoint is written and the run ends.

        Raises:
            FileNotFoundError, OSError, ValueError: see `load_config`, `accumulating`, `build` and `Training`.
            FloatingPointError: the loss is not finite.
        """
        config = accumulating(load_config(self.config, config_path, overrides))
        if self.complete is not None:
            config = self.complete(config)
        check_output(config.output)
        finished = finished_at(config.output)
        if resume == "latest" and finished is not None and finished >= config.steps:
            return Outcome(step=finished)
        with StopRequests() as requests:
            stage = requests.unless_stopped(lambda: self.build(config))
            if stage is None:
                return Outcome(reason="interrupted")
            return Training(stage, config, resume, requests).run(stop_after)


def views_trainer(config: type[ViewsT], stage: Callable[[ViewsT], Stage]) -> Trainer[ViewsT]:
    """Trainer of a stage that sees single views; rendered ones that are missing are rendered first."""

    def build(values: ViewsT) -> Stage:
        prepare_run(values, (values.data, values.validation))
        return stage(values)

    return Trainer(config, build)


def prepare_run(config: RunConfig, people: Sequence[Any]) -> None:
    """Set the threads, check precision and seeds, render the views that are missing.

    Args:
        config: the run.
        people: data and validation of the run, of which only rendered ones matter here; empty where there are no others.

    Raises:
        ValueError: fp16 without a GPU, identities outside of their split, or a cache that was made with other settings.
    """
    if config.precision == "fp16" and run_device().type != "cuda":
        raise ValueError("precision fp16 needs a GPU; bf16 and fp32 work on a CPU")
    if config.wandb is not None:
        import_wandb()
    if config.threads:
        torch.set_num_threads(config.threads)
    if people:
        check_split(*people)
    with main_process_first():
        for views in people:
            if isinstance(views, ViewCacheConfig):
                render_views(views)
