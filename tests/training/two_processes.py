"""What `test_two_processes.py` starts with torchrun: runs of two processes, whose losses the main process writes down.

python two_processes.py CONFIG FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from fake_people import cache_values

from imagpose.training.denoiser import DenoiserStage, train_denoiser


def validated_run(config: str, folder: Path, batch_size: int) -> tuple[str, list[str]]:
    """A run of one step that changes nothing, and its validation: configuration and changes of it."""
    held_out = json.dumps(cache_values(folder / "validation", first_seed=1_000_000, identities=4))
    changes = {"output": folder / f"validated-{batch_size}", "batch_size": batch_size, "validation": held_out}
    changes |= {"steps": 1, "learning_rate": 1e-12, "sampling": {"steps": 1}}
    return config, [f"{name}={value}" for name, value in changes.items()]


def sharded_runs(folder: Path) -> list[list[float]]:
    """Losses of a run that shares the weights out, stopped and resumed. What follows in this process is sharded too."""
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    # Accelerate takes FSDP for something that GPUs do; torch shards on the CPU as well.
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    config, changes = str(folder / "config.yaml"), [f"output={folder / 'sharded'}"]
    stopped = train_denoiser(config, changes, stop_after=1e-9)
    return [stopped.losses, train_denoiser(config, changes, resume="latest").losses]


def main(config: str, folder: Path) -> None:
    rank = int(os.environ["RANK"])
    forward, batch = DenoiserStage.forward, DenoiserStage.batch

    def ranked(self: DenoiserStage, inputs: dict) -> tuple[torch.Tensor, dict]:
        loss, scalars = forward(self, inputs)
        return loss, scalars | {"rank": torch.tensor(float(rank))}

    DenoiserStage.forward = ranked
    whole = train_denoiser(config, [f"output={folder / 'whole'}"])
    DenoiserStage.forward = forward

    def signalled(self: DenoiserStage, step: int, samples: range) -> dict:
        if step == 1 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(self, step, samples)

    DenoiserStage.batch = signalled  # only one of the processes is told to stop
    stopped = train_denoiser(config, [f"output={folder / 'stopped'}"])
    DenoiserStage.batch = batch
    resumed = train_denoiser(config, [f"output={folder / 'stopped'}"], resume="latest")
    validated = train_denoiser(*validated_run(config, folder, 3))
    runs = {
        "whole": whole.losses,
        "samples": whole.samples,
        "stopped": stopped.losses,
        "resumed": resumed.losses,
        "reason": stopped.reason,
        "validation": validated.validation,
        "sharded": sharded_runs(folder / "halves"),
        "distributed_type": AcceleratorState().distributed_type.value,
    }
    (folder / f"{rank}.json").write_text(json.dumps(runs))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
