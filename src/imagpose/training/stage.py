"""What a training stage is: trainable modules, a batch per step, a loss, and what is shown of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch import nn

Batch = dict[str, torch.Tensor]


class Stage(nn.Module, ABC):
    """Base of the three stages. Its parameters are what is trained; frozen networks are kept outside `parameters()`.

    Attributes:
        name: name of the stage.
        samples_per_step: samples that one step on one process sees.
    """

    name: str
    samples_per_step: int

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of a batch, and detached scalars to record."""

    @abstractmethod
    def batch(self, step: int, process: int) -> Batch:
        """Inputs of one step on one process, on the CPU; depends on (seed, step, process) only."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Measures on held-out people, with the present (EMA) weights."""

    def sample_grid(self) -> np.ndarray | None:
        """Picture that shows what the stage does, uint8 (H, W, 3), or None."""
        return None

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the present (EMA) weights in the libraries' own layout into an existing empty folder."""


def keyed_rng(*key: int) -> np.random.Generator:
    """Random generator that depends on `key` only, for example (seed, step, process)."""
    return np.random.default_rng(np.random.SeedSequence(key))


def keyed_generator(*key: int) -> torch.Generator:
    """As `keyed_rng`, for torch on the CPU."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
