"""The optimiser of a run."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import torch
from torch import nn

from imagpose.training.configs import RunConfig


def build_optimizer(config: RunConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW, its moments in 32 or in 8 bits; or Adam.

    Args:
        config: of the run.
        parameters: what is trained.

    Raises:
        ValueError: 8 bits, but the extra `optim8bit` is missing.
    """
    options: dict[str, Any] = {
        "lr": config.learning_rate, "betas": config.adam_betas, "weight_decay": config.weight_decay
    }  # fmt: skip
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **options)
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, **options)
    try:
        kind = import_module("bitsandbytes").optim.AdamW8bit
    except ImportError:
        raise ValueError(
            "optimizer adamw8bit needs the package bitsandbytes: pip install 'imagpose[optim8bit]'"
        ) from None
    built: torch.optim.Optimizer = kind(parameters, **options)
    return built
