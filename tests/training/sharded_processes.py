"""What `test_sharded.py` starts with torchrun: a run of two processes that share the weights out, stopped and resumed.

python sharded_processes.py CONFIG FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import DistributedType

from imagpose.training.denoiser import train_denoiser


def main(config: str, folder: Path) -> None:
    PartialState(cpu=True)
    # Accelerate takes FSDP for something that GPUs do; torch shards on the CPU as well.
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    stopped = train_denoiser(config, [f"output={folder / 'sharded'}"], stop_after=1e-9)
    resumed = train_denoiser(config, [f"output={folder / 'sharded'}"], resume="latest")
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps([stopped.losses, resumed.losses]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
