"""Canvases per second of `imagpose train denoiser` by one process and by several on this machine: the same steps.

python benchmarks/training_processes.py [--size 256x176] [--batch 8] [--steps 6] [--rounds 2] [--processes 2]
    [--identities 16]

`mini`'s UNet is trained from scratch on rendered people whose latents are cached. The rows: one process of one thread, one
process of as many threads as there would be processes, and that many processes of one thread, each with its share of the
batch (torchrun, gloo). Every row is a run of the command; they take turns, the first two steps of each do not count, and
the median of the others does.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from imagpose.workers import default_to_one_thread

default_to_one_thread()

from imagpose.data.rendered import prepare_people
from imagpose.io import write_json
from imagpose.training.denoiser.cache import build_cache
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.networks import build_pipeline

_WARM = 2
_RATE = re.compile(r"([0-9.]+) canvases/s")


def prepare(folder: Path, size: tuple[int, int], identities: int) -> Path:
    """A configuration whose data set is rendered and whose caches are filled."""
    prepare_people(0, identities, 8, *size, folder / "people")
    values = {
        "output": str(folder / "run"),
        "data": {
            "dataset": str(folder / "people"), "height": size[0], "width": size[1], "cache": str(folder / "cache")
        },
        "prediction_type": "v_prediction",
        "zero_terminal_snr": True,
        "precision": "bf16",
        "log_every": 1,
    }  # fmt: skip
    config = DenoiserConfig.model_validate(values)
    build_cache(config, build_pipeline(config))
    write_json(folder / "config.yaml", values)
    return folder / "config.yaml"


def run(config: Path, name: str, processes: int, threads: int, batch: int, steps: int) -> list[float]:
    """Canvases per second of all processes, of each step that counts, of a fresh run."""
    changes = [f"output={config.parent / name}", f"batch_size={batch // processes}", f"threads={threads}"]
    command = ["-m", "imagpose", "train", "denoiser", "--config", str(config), f"steps={_WARM + steps}", *changes]
    if processes > 1:
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *command]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    ended = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=True)
    rates = [float(rate) for rate in _RATE.findall(ended.stdout + ended.stderr)]
    assert len(rates) == _WARM + steps, ended.stdout + ended.stderr
    return rates[_WARM:]


def main() -> None:
    """Print one line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="256x176", help="height x width of a view in pixels")
    parser.add_argument("--batch", type=int, default=8, help="canvases of a step, over all processes")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--identities", type=int, default=16)
    given = parser.parse_args()
    if given.batch % given.processes:
        parser.error(f"batch is {given.batch}; a multiple of {given.processes} expected")
    height, width = (int(side) for side in given.size.split("x"))
    ways = list(dict.fromkeys([(1, 1), (1, given.processes), (given.processes, 1)]))
    rates: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        config = prepare(Path(name), (height, width), given.identities)
        for turn in range(given.rounds):
            for way in ways:
                rates[way] += run(config, f"{turn}-{way[0]}-{way[1]}", *way, given.batch, given.steps)
    print(f"mini, bf16 autocast, cached latents, {given.batch} 2x2 canvases of {height}x{width} views a step\n")
    print("| processes | threads of each | canvases/s | times the first |\n| ---: | ---: | ---: | ---: |")
    first = median(rates[ways[0]])
    for (processes, threads), own in rates.items():
        print(f"| {processes} | {threads} | {median(own):.2f} | {median(own) / first:.2f} |")


if __name__ == "__main__":
    main()
