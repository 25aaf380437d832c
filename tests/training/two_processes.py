"""What `test_two_processes.py` starts with torchrun: runs of two processes, whose losses the main process writes down.

python two_processes.py CONFIG FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from imagpose.training.denoiser import DenoiserStage, train_denoiser


def main(config: str, folder: Path) -> None:
    whole = train_denoiser(config, [f"output={folder / 'whole'}"])

    batch, rank = DenoiserStage.batch, int(os.environ["RANK"])

    def signalled(self: DenoiserStage, step: int, samples: range) -> dict:
        if step == 1 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(self, step, samples)

    DenoiserStage.batch = signalled  # only one of the processes is told to stop
    stopped = train_denoiser(config, [f"output={folder / 'stopped'}"])
    DenoiserStage.batch = batch
    resumed = train_denoiser(config, [f"output={folder / 'stopped'}"], resume="latest")
    runs = {"whole": whole.losses, "stopped": stopped.losses, "resumed": resumed.losses, "reason": stopped.reason}
    (folder / f"{rank}.json").write_text(json.dumps(runs))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
