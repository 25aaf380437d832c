"""What a training stage is: trainable modules, a batch per step, a loss, and what is shown of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from imagpose.io import error_line
from imagpose.training.configs import RunConfig

_COMPILED_VARIANTS = 64

Batch = dict[str, Any]
"""What a forward pass takes, by name: tensors, and what is no number of the device's, such as a view grid."""


class Drawn(IntEnum):
    """Last part of a key where one sample has several generators: what it draws."""

    ORDER = 0
    MASK = 1
    NOISE = 2
    CHANGES = 3
    GUIDANCE = 4


@dataclass(frozen=True)
class ProgressReport:
    """What a stage shows of its progress on held-out people.

    Attributes:
        picture: uint8 (H, W, 3).
        measures: a row of the curve, by name.
    """

    picture: np.ndarray
    measures: dict[str, float]


class Stage(nn.Module, ABC):
    """Base of all stages. Its parameters are what is trained; frozen networks are kept outside `parameters()`.

    Attributes:
        name: name of the stage.
        sample_name: what its samples are called, in the plural.
        samples_per_batch: samples in one batch; a stage whose batches differ counts them in `samples_in`.
        samples_before: samples that its weights have seen before this run.
    """

    name: str
    sample_name: str = "samples"
    samples_per_batch: int
    samples_before: int = 0

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of a batch, and detached scalars to record."""

    @abstractmethod
    def batch(self, step: int, samples: range) -> Batch:
        """Inputs of some samples of one step, on the CPU.

        Args:
            step: optimiser step.
            samples: `batch_size` numbers in the step's global batch, which processes and accumulated batches share.

        The result depends on (seed, step, samples) only. Where the loss is a mean over samples that do not see each
        other, sample i is keyed by (seed, step, i), so that the number of processes changes nothing; where they do, a
        batch is keyed by its first sample.
        """

    def items(self, step: int, samples: range) -> list[str]:
        """What the batch of these samples shows, for a message about it; drawn again from their key, see `batch`."""
        return [f"sample {sample}" for sample in samples]

    def samples_in(self, batch: Batch) -> int:
        """Samples in a batch of this process, for the records."""
        return self.samples_per_batch

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Measures on held-out people, with the present (EMA) weights."""

    def sample_grid(self) -> np.ndarray | None:
        """Picture that shows what the stage does, uint8 (H, W, 3), or None."""
        return None

    def measure_progress(self) -> ProgressReport | None:
        """What is shown every `progress_every` samples, with the present (EMA) weights; None: the stage has no curve."""
        return None

    def optimizer(self, config: RunConfig) -> torch.optim.Optimizer:
        """What the parameters are trained by, before the run prepares it: AdamW, its moments in 32 or in 8 bits; or Adam.

        Raises:
            ValueError: 8 bits, but the extra `optim8bit` is missing.
        """
        options: dict[str, Any] = {
            "lr": config.learning_rate, "betas": config.adam_betas, "weight_decay": config.weight_decay
        }  # fmt: skip
        if config.optimizer == "adamw":
            return torch.optim.AdamW(self.parameters(), **options)
        if config.optimizer == "adam":
            return torch.optim.Adam(self.parameters(), **options)
        try:
            kind = import_module("bitsandbytes").optim.AdamW8bit
        except ImportError:
            raise ValueError(
                "optimizer adamw8bit needs the package bitsandbytes: pip install 'imagpose[optim8bit]'"
            ) from None
        built: torch.optim.Optimizer = kind(self.parameters(), **options)
        return built

    def compilable(self) -> Sequence[nn.Module]:
        """The networks in which a step spends its time, for torch.compile."""
        return ()

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the present (EMA) weights in the libraries' own layout into an existing empty folder."""


def compile_networks(networks: Iterable[nn.Module], device: torch.device) -> str | None:
    """Compile what a stage offers (`Stage.compilable`) in place, so that the names of its weights stay.

    Returns:
        None, or why the networks are left as they are.
    """
    reason = _why_not_compiled(device)
    if reason is None:
        # A view grid is a constant of the compiled code; torch's own 8 variants are fewer than the grids up to 3x3.
        torch._dynamo.config.recompile_limit = _COMPILED_VARIANTS
        for network in networks:
            network.compile()
    return reason


def _why_not_compiled(device: torch.device) -> str | None:
    try:
        torch.compile(torch.sin, fullgraph=True)(torch.zeros(2, device=device))
    except Exception as error:  # whatever a missing or broken tool chain raises
        return error_line(error, 200)
    return None


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on `device`."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }


def keyed_rng(*key: int) -> np.random.Generator:
    """Random generator that depends on `key` only, for example (seed, step, sample)."""
    return np.random.default_rng(_sequence(key))


def keyed_generator(*key: int) -> torch.Generator:
    """As `keyed_rng`, for torch on the CPU."""
    state = _sequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def _sequence(key: tuple[int, ...]) -> np.random.SeedSequence:
    # With its length, because numpy takes (seed, step) and (seed, step, 0) for the same.
    return np.random.SeedSequence((*key, len(key)))


def start_from(model: nn.Module, trained: nn.Module, initial: Path) -> None:
    """Copy the weights of `trained`, which were read from `initial`, into `model`.

    Raises:
        ValueError: they are those of another network.
    """
    theirs, ours = trained.state_dict(), model.state_dict()
    differing = [name for name in {**ours, **theirs} if name not in theirs or name not in ours]
    differing += [name for name, weight in ours.items() if name in theirs and theirs[name].shape != weight.shape]
    if differing:
        raise ValueError(f"initial {initial} does not fit model: {len(differing)} weights differ, first {differing[0]}")
    model.load_state_dict(theirs)
