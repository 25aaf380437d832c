"""The learning rate over a run's steps, and the phase of its schedule."""

from __future__ import annotations

import torch
from diffusers.optimization import get_scheduler
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_wsd_schedule

from imagpose.training.configs import RunConfig


def build_schedule(config: RunConfig, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """The learning rate over the run's steps."""
    if config.lr_schedule == "hold_decay":
        return get_wsd_schedule(
            optimizer,
            num_warmup_steps=config.warmup_steps,
            num_decay_steps=config.steps - config.decay_start,
            num_training_steps=config.steps,
            decay_type="linear",
        )
    return get_scheduler(
        config.lr_schedule, optimizer, num_warmup_steps=config.warmup_steps, num_training_steps=config.steps
    )


def schedule_phase(config: RunConfig, step: int) -> str:
    """Phase of the learning-rate schedule after `step` steps: ``warm-up``, ``hold``, ``decay`` or ``finished``.

    The constant schedules hold to the end; linear and cosine decay from the warm-up on.
    """
    if step >= config.steps:
        return "finished"
    if step < config.warmup_steps:
        return "warm-up"
    holds = config.lr_schedule.startswith("constant") or (
        config.lr_schedule == "hold_decay" and step < config.decay_start
    )
    return "hold" if holds else "decay"
