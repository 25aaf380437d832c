"""The processes of a run, as Accelerate sees them: which one this is, what it runs on, what they share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from imagpose.devices import choose_device, process_state
from imagpose.training.configs import RunConfig

ConfigT = TypeVar("ConfigT", bound=RunConfig)


def this_process() -> tuple[int, int]:
    """Number of this process, and of all."""
    state = process_state()
    return state.process_index, state.num_processes


def run_device() -> torch.device:
    """The device of this process."""
    device: torch.device = process_state().device
    return device


def main_process_first() -> AbstractContextManager[None]:
    """Let the main process make what all processes then find made."""
    context: AbstractContextManager[None] = process_state().main_process_first()
    return context


def wait_for_everyone() -> None:
    """Return when all processes have come here."""
    process_state().wait_for_everyone()


def global_batch(config: RunConfig) -> int:
    """Samples of one optimiser step, over all processes and accumulated batches."""
    return config.batch_size * config.gradient_accumulation * this_process()[1]


def accumulating(config: ConfigT, processes: int | None = None) -> ConfigT:
    """The configuration with the gradient accumulation that its `global_batch` needs on these processes, or on so many.

    Raises:
        ValueError: `global_batch` is no multiple of what the processes see at once.
    """
    if config.global_batch is None:
        return config
    processes = processes or this_process()[1]
    parts, rest = divmod(config.global_batch, config.batch_size * processes)
    if rest or not parts:
        raise ValueError(
            f"global_batch is {config.global_batch}; a multiple of {config.batch_size * processes} expected"
            f" (batch_size {config.batch_size} x {processes} process{'es' if processes > 1 else ''})"
        )
    return config.model_copy(update={"gradient_accumulation": parts})


def build_accelerator(config: RunConfig) -> Accelerator:
    """Accelerate as the launcher has set it up, but for what the configuration says.

    Raises:
        ValueError: the launcher asks for FSDP in a way that the loop cannot work with.
    """
    precision = "no" if config.precision == "fp32" else config.precision
    _forget_other_precision(precision)
    accelerator = Accelerator(
        mixed_precision=precision,
        cpu=choose_device() == "cpu",
        step_scheduler_with_optimizer=False,
        # Gradients are averaged in the loop; a launcher's number would divide them once more.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )
    if is_sharded(accelerator):
        refuse_sharded(config)
        plugin = accelerator.state.fsdp_plugin
        if not accelerator.is_fsdp2:
            raise ValueError("FSDP needs fsdp_version: 2, see configs/accelerate/fsdp_8x80gb.yaml")
        if plugin.activation_checkpointing:
            raise ValueError(
                "fsdp_activation_checkpointing: use gradient_checkpointing=true of the configuration instead"
            )
        # Autocast, as without sharding: FSDP's own casts round the noise, its variance and the loss to half precision.
        plugin.mixed_precision_policy = MixedPrecisionPolicy()
    return accelerator


def refuse_sharded(config: RunConfig) -> None:
    """Raises `ValueError` if a run whose weights are sharded asks for what shards already do."""
    if config.optimizer == "adamw8bit":
        raise ValueError("optimizer adamw8bit: with FSDP a process holds a part of the moments only; adamw expected")
    if config.ema_on_cpu:
        raise ValueError("ema_on_cpu: with FSDP a process holds a part of the EMA weights only; leave it out")


def _forget_other_precision(precision: str) -> None:
    """Let this run have another precision than the one before it in this process; the group of processes stays.

    Accelerate keeps the first run's precision and refuses another. It offers nothing public to forget it: its own tests
    call the same private method.
    """
    if AcceleratorState._shared_state.get("_mixed_precision", precision) != precision:
        AcceleratorState._reset_state()


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether a process holds a part of each weight only."""
    sharded: bool = accelerator.distributed_type.value == "FSDP"
    return sharded


def whole(weight: torch.Tensor) -> torch.Tensor:
    """A weight as one process sees it, gathered if it is sharded. Every process calls it."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight
