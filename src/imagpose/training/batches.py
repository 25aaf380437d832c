"""The batches of a run: which samples each process and each accumulated batch has, and their preparation ahead."""

from __future__ import annotations

from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from imagpose.training.configs import RunConfig
from imagpose.training.stage import Batch, Stage
from imagpose.training.stopping import ignore_stop_requests


class _Batches(Dataset[Batch]):
    """The batches of one process in the order in which they are used, by their number in the whole run."""

    def __init__(self, stage: Stage, config: RunConfig, process: int, processes: int) -> None:
        self.stage = stage
        self.config = config
        self.process = process
        self.processes = processes

    def __getitem__(self, number: int) -> Batch:
        step, part = divmod(number, self.config.gradient_accumulation)
        return self.stage.batch(step, samples_of(self.config, part, self.process, self.processes))


def samples_of(config: RunConfig, part: int, process: int, processes: int) -> range:
    """The numbers, in a step's global batch, of the samples of one of a process's accumulated batches."""
    first = (part * processes + process) * config.batch_size
    return range(first, first + config.batch_size)


def batch_loader(stage: Stage, config: RunConfig, first_step: int, accelerator: Accelerator) -> DataLoader[Batch]:
    """The batches of this process from `first_step` on; with `config.workers` they are prepared ahead.

    Workers are forked: they only read, and they share the memory of what is opened. They end with the loader, or some
    seconds after this process was killed.
    """
    parts = config.gradient_accumulation
    return DataLoader(
        _Batches(stage, config, accelerator.process_index, accelerator.num_processes),
        batch_size=None,
        sampler=range(first_step * parts, config.steps * parts),
        num_workers=config.workers,
        multiprocessing_context="fork" if config.workers else None,
        worker_init_fn=lambda _: ignore_stop_requests(),
        pin_memory=accelerator.device.type == "cuda",
    )
