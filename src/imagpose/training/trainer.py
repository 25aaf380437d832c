"""From a configuration file to a finished run: what the commands call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from imagpose.training.config import RenderedRunConfig, RunConfig, load_config
from imagpose.training.loop import Training, exported_step, prepare_run
from imagpose.training.records import Outcome
from imagpose.training.stage import Stage

ConfigT = TypeVar("ConfigT", bound=RunConfig)
RenderedT = TypeVar("RenderedT", bound=RenderedRunConfig)


@dataclass(frozen=True)
class Trainer(Generic[ConfigT]):
    """Trains one kind of stage.

    Attributes:
        config: what its configuration files hold.
        build: makes what the run needs and is missing (views, caches), then the stage.
    """

    config: type[ConfigT]
    build: Callable[[ConfigT], Stage]

    def __call__(
        self,
        config_path: str | Path,
        overrides: list[str] | None = None,
        resume: str | None = None,
        stop_after: float | None = None,
    ) -> Outcome:
        """Train, write ``<output>/weights``.

        Args:
            config_path: YAML of `config`.
            overrides: ``key=value`` replacements.
            resume: None, "latest" (nothing is done where the run is finished) or the folder of a checkpoint.
            stop_after: seconds after which a checkpoint is written and the run ends.

        Raises:
            FileNotFoundError, OSError, ValueError: see `load_config`, `build` and `Training`.
            FloatingPointError: the loss is not finite.
        """
        config = load_config(self.config, config_path, overrides)
        exported = exported_step(config.output)
        if resume == "latest" and exported is not None and exported >= config.steps:
            return Outcome(step=exported)
        return Training(self.build(config), config, resume).run(stop_after)


def rendered_trainer(config: type[RenderedT], stage: Callable[[RenderedT], Stage]) -> Trainer[RenderedT]:
    """Trainer of a stage that sees rendered views only; those that are missing are rendered first."""

    def build(values: RenderedT) -> Stage:
        prepare_run(values, (values.data, values.validation))
        return stage(values)

    return Trainer(config, build)
