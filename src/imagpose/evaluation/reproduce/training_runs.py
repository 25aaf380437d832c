"""The denoisers of a table: each trained by the same configuration, on the same draws, for the same number of steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from safetensors import safe_open

from imagpose.data.info import read_info
from imagpose.io import read_json, write_json
from imagpose.models.kinds import check_base, check_image_encoder
from imagpose.models.presets import ABLATIONS, find_preset
from imagpose.outputs import SETTINGS_FILE, claim_folder
from imagpose.training.configs import defaults_of, load_config
from imagpose.training.denoiser import train_denoiser
from imagpose.training.denoiser.cache import fingerprint
from imagpose.training.denoiser.config import DatasetConfig, DenoiserConfig
from imagpose.training.denoiser.networks import frozen_files

_TRAINED = ("unet", "pose_encoder", "feature_tokens")


@dataclass(frozen=True)
class TrainingRuns:
    """Runs below one folder, of one configuration.

    Attributes:
        out: the folder; runs lie in `runs`, caches in `cache`.
        data: data set of `imagpose prepare`, with a split "train".
        config: YAML of a denoiser. Its data set, output, cache, validation and steps are replaced.
        steps: optimiser steps of every run.
        overrides: key=value replacements in the configuration, see `load_config`.
    """

    out: Path
    data: Path
    config: Path
    steps: int
    overrides: Sequence[str] = ()

    @property
    def base(self) -> DenoiserConfig:
        """The configuration without any variant's changes.

        Raises:
            FileNotFoundError, ValueError: see `load_config`; it names no data set, or an ablation, or `initial` is set.
        """
        config = load_config(DenoiserConfig, self.config, list(self.overrides))
        if not isinstance(config.data, DatasetConfig):
            raise ValueError(f"{self.config}: data must name a data set (data.dataset), as --data replaces it")
        if config.initial is not None:
            raise ValueError(
                f"{self.config}: initial is set; variants start alike, from the base's weights or from none"
            )
        if ":" in config.preset or config.preset in ABLATIONS:
            raise ValueError(f"{self.config}: preset {config.preset} is an ablation; name the whole model")
        return config

    @property
    def shared(self) -> dict[str, Any]:
        """What all runs have in common, of what JSON can hold; errors as `base`."""
        config = load_config(DenoiserConfig, self.config, self._values("", ()))
        values = config.model_dump(mode="json", exclude={"output", "preset", "image_encoder", "data"})
        return values | {"height": config.data.height, "width": config.data.width}

    def open(self, variants: Mapping[str, Sequence[str]], named_presets: Sequence[str] = ()) -> None:
        """Check what is to come before the first run is started, and mark the folders as theirs.

        Args:
            variants: overrides of each run, by its name.
            named_presets: what lines are named after; base and image encoder have to be of their kind.

        Raises:
            FileNotFoundError, ValueError: see `base`; the data set is missing or has no test people, a change does not
                fit, base or image encoder are not of a named preset's kind, or the folder holds runs of another
                configuration, data set or number of steps, or one of such a name with other overrides or of other base,
                VAE or image encoder, which are known by their files, wherever these lie.
        """
        info = read_info(self.data)
        if missing := [split for split in ("train", "test") if split not in info.splits]:
            raise ValueError(f"{self.data} has no split {' and no split '.join(missing)}: prepare it with both")
        marks: dict[str, dict[str, Any]] = {}
        digest_of = cache(fingerprint)  # variants share networks, which may have gigabytes
        for name, changes in variants.items():
            config = load_config(DenoiserConfig, self.config, self._values("", changes))
            preset, files = find_preset(config.preset), frozen_files(config)
            check_base(preset, files)
            if preset.name in named_presets:
                check_image_encoder(preset, files)
            marks[name] = {
                "overrides": [text for text in changes if not text.startswith("image_encoder=")],
                "networks": {kind: None if own is None else digest_of(own) for kind, own in vars(files).items()},
            }
        claim_folder(
            self.out, {"data": info.fingerprint, "config": self.shared}, {"config": defaults_of(DenoiserConfig)}
        )
        for name, mark in marks.items():
            run = self._run(name)
            if (run / "weights").is_dir() or any(run.glob("checkpoints/*")):
                claim_folder(run, mark)
            else:  # nothing is trained yet, so that what it was to be may change
                run.mkdir(parents=True, exist_ok=True)
                write_json(run / SETTINGS_FILE, mark)

    def train(self, name: str, changes: Sequence[str]) -> Path:
        """Train a run, or go on with it, or nothing if it is finished.

        Returns:
            Its pipeline's folder.

        Raises:
            InterruptedError: it was stopped; the same command continues.
            FileNotFoundError, OSError, ValueError, FloatingPointError: see `train_denoiser`.
        """
        weights = self._run(name) / "weights"
        if _steps_done(weights) < self.steps:
            train_denoiser(self.config, self._values(name, changes), "latest").require_finished(name)
        return weights

    def _run(self, name: str) -> Path:
        return self.out / "runs" / name

    def _values(self, name: str, changes: Sequence[str]) -> list[str]:
        base = self.base
        named = dict(text.split("=", 1) for text in changes)
        # Encoders make their own tokens; what a VAE makes is told apart by its fingerprint.
        encoder = named.get("image_encoder") or named.get("preset", base.preset).partition(":")[0]
        augmented = isinstance(base.data, DatasetConfig) and base.data.augment.changes_views
        cache = "null" if augmented else self.out / "cache" / _file_name(encoder)
        return [
            *self.overrides, "validation=null", f"data.dataset={self.data}", "data.split=train", f"data.cache={cache}",
            f"steps={self.steps}", f"output={self._run(name)}", *changes,
        ]  # fmt: skip


def _file_name(place: str) -> str:
    """A folder's name for a preset or the place of an encoder; different ones stay different."""
    return quote(place, safe="")


def _steps_done(weights: Path) -> int:
    file = weights / "training.json"
    return int(read_json(file).get("step", 0)) if file.is_file() else 0


def trained_parameters(weights: Path) -> int:
    """How many parameters of a saved pipeline are trained: those of UNet, pose encoder and feature tokens."""
    count = 0
    for folder in _TRAINED:
        for file in sorted((weights / folder).glob("*.safetensors")):
            with safe_open(file, "pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (no mapping)
                    count += math.prod(tensors.get_slice(name).get_shape())
    return count
