"""Stage 3: UNet, pose encoder and feature tokens trained together on Eq. 4, with the masking strategy of §3.3.

`config` says what can be chosen, `networks` builds, `cache` computes once what frozen networks make of a view, `data` lays
views into canvases as `draw` has drawn them, `objective` is Eq. 4, `stage` puts them together, `preview` shows and measures
what comes out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.configs import load_config
from imagpose.training.denoiser.cache import build_cache, open_dataset
from imagpose.training.denoiser.config import DatasetConfig, DenoiserConfig
from imagpose.training.denoiser.networks import build_pipeline
from imagpose.training.denoiser.stage import DenoiserStage
from imagpose.training.processes import this_process, wait_for_everyone
from imagpose.training.run import Trainer, prepare_run
from imagpose.training.stopping import StopRequests

__all__ = ["OVERFIT_LOSS", "DenoiserConfig", "DenoiserStage", "cache_denoiser", "fill_caches", "train_denoiser"]

OVERFIT_LOSS = 0.1
"""Where a run with `overfit` has to get: a tenth of the target's variance, which is what predicting nothing gives."""

ConfigT = TypeVar("ConfigT", bound=DenoiserConfig)


def cache_denoiser(config_path: str | Path, overrides: list[str] | None = None) -> list[Path]:
    """Fill the caches only; returns their folders.

    Raises:
        FileNotFoundError, OSError, ValueError: see `load_config` and `fill_caches`; or the configuration has no cache.
        KeyboardInterrupt: SIGINT or SIGTERM came; the next call goes on.
    """
    config = load_config(DenoiserConfig, config_path, overrides)
    with StopRequests() as requests:
        filled = requests.unless_stopped(lambda: fill_caches(config))
    if filled is None:
        raise KeyboardInterrupt
    folders = filled[1]
    if not folders:
        raise ValueError(f"{config_path}: no cache is configured; name a folder, for example data.cache=runs/cache")
    return folders


def fill_caches(
    config: ConfigT, build: Callable[[ConfigT], IMAGPosePipeline] = build_pipeline
) -> tuple[IMAGPosePipeline, list[Path]]:
    """Render, build the networks, cache what is configured.

    Args:
        config: of the run.
        build: makes the pipeline.

    Raises:
        FileNotFoundError, OSError, ValueError: see `open_dataset`, `build`, `prepare_run` and `build_cache`.
    """
    for data in (config.data, config.validation):
        if isinstance(data, DatasetConfig):
            open_dataset(data)  # a bad one is refused before minutes go into loading networks
    pipeline = build(config)
    prepare_run(config, (config.data, config.validation))
    folders = build_cache(config, pipeline)
    wait_for_everyone()
    return pipeline, folders


def _prepared(config: DenoiserConfig) -> DenoiserStage:
    pipeline, _ = fill_caches(config)
    stage = DenoiserStage(config, pipeline)
    if this_process()[0] == 0:
        print(*stage.ceiling(), sep="\n", file=sys.stderr)
    return stage


train_denoiser = Trainer(DenoiserConfig, _prepared)
