"""The learning rate over a run's steps, and the phase of its schedule."""

from __future__ import annotations

from functools import partial

import torch
from diffusers.optimization import get_scheduler
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_wsd_schedule

from imagpose.training.configs import RunConfig

_FIRST_SHARE = 0.01  # of the rate, where the warm-up of multistep begins (Luo et al., 2019)


def build_schedule(config: RunConfig, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """The learning rate over the run's steps."""
    if config.lr_schedule == "hold_decay":
        wsd: LambdaLR = get_wsd_schedule(
            optimizer,
            num_warmup_steps=config.warmup_steps,
            num_decay_steps=config.steps - config.decay_start,
            num_training_steps=config.steps,
            decay_type="linear",
        )
        return wsd
    if config.lr_schedule == "multistep":
        return LambdaLR(optimizer, partial(_multistep, warmup_steps=config.warmup_steps, decays=config.decay_steps))
    schedule: LambdaLR = get_scheduler(
        config.lr_schedule, optimizer, num_warmup_steps=config.warmup_steps, num_training_steps=config.steps
    )
    return schedule


def _multistep(step: int, warmup_steps: int, decays: tuple[int, ...]) -> float:
    """Share of the rate: linear from a hundredth during the warm-up, a tenth after each decay."""
    if step < warmup_steps:
        return _FIRST_SHARE + (1 - _FIRST_SHARE) * step / warmup_steps
    passed = sum(step >= decay for decay in decays)
    return float(0.1**passed)


def take_rates(schedule: LambdaLR, optimizer: torch.optim.Optimizer, config: RunConfig) -> bool:
    """Give a resumed optimiser and schedule the configuration's rates; their state holds those of the sitting before.

    Returns:
        Whether the learning rate rises again: the step lies in the decay of a shorter run.
    """
    step = schedule.last_epoch
    factor_before = float(schedule.get_last_lr()[0]) / schedule.base_lrs[0]
    rises = step >= config.warmup_steps and factor_before < float(schedule.lr_lambdas[0](step))
    schedule.base_lrs = [config.learning_rate] * len(schedule.base_lrs)
    for group, factor in zip(optimizer.param_groups, schedule.lr_lambdas, strict=True):
        group["lr"] = config.learning_rate * factor(step)
        group["weight_decay"] = config.weight_decay
    return bool(rises)


def schedule_phase(config: RunConfig, step: int) -> str:
    """Phase of the learning-rate schedule after `step` steps: ``warm-up``, ``hold``, ``decay`` or ``finished``.

    The constant schedules hold to the end, multistep to its first decay; linear and cosine decay from the warm-up on.
    """
    if step >= config.steps:
        return "finished"
    if step < config.warmup_steps:
        return "warm-up"
    holds = (
        config.lr_schedule.startswith("constant")
        or (config.lr_schedule == "hold_decay" and step < config.decay_start)
        or (config.lr_schedule == "multistep" and step < min(config.decay_steps, default=config.steps))
    )
    return "hold" if holds else "decay"
