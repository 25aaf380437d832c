"""What a training survives: `python tools/trust.py --only training`, in short in `tests/trust`.

Every trial trains a tiny autoencoder on two rendered people in a process of its own, which is killed, stopped or lied to, or
whose newest checkpoint is damaged; it is then resumed, and must end with the weights of the run that nothing happened to.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from imagpose.training.autoencoder import train_autoencoder
from imagpose.training.autoencoder.crops import CropStage
from imagpose.training.checkpoints import list_checkpoints
from imagpose.training.shards import load_shard
from imagpose.workers import usable_cores

STEPS = 24
PATIENCE = 10.0  # seconds after which launchers may lose theirs; most give 30
_HANGS = 120.0


def values(folder: Path) -> dict:
    """A run of some seconds; its views lie in `folder`."""
    size = {"identities": 2, "block": 2, "views": 2, "height": 64, "width": 48}
    return {
        "output": str(folder / "whole"),
        "data": {"folder": str(folder / "train"), "first_seed": 0, **size},
        "validation": {"folder": str(folder / "validation"), "first_seed": 1_000_000, **size},
        "model": {"block_out_channels": [8, 8], "latent_channels": 4, "norm_num_groups": 4},
        "crop_size": 32, "steps": STEPS, "batch_size": 2, "threads": 1, "precision": "fp32", "learning_rate": 1e-3,
        "checkpoint_every": 3, "keep_checkpoints": 3, "validate_every": 8, "sample_every": 9,
    }  # fmt: skip


@dataclass(frozen=True)
class Trials:
    """A configuration, what it gives undisturbed, and the draws of the trials.

    Attributes:
        config: path of the file.
        folder: where trials write.
        weights: the exported weights of the undisturbed run.
        seconds: what it took.
        rng: draws moments, lengths and bytes.
    """

    config: Path
    folder: Path
    weights: bytes
    seconds: float
    rng: np.random.Generator

    def run(self, output: Path, before: Callable[[], None] = lambda: None) -> BaseProcess:
        """Start or resume the training in a process of its own, in which `before` is called first."""

        def train() -> None:
            torch.set_num_threads(1)
            before()
            with output.with_suffix(".log").open("a") as log, redirect_stdout(log), redirect_stderr(log):
                outcome = train_autoencoder(self.config, [f"output={output}"], "latest")
            output.with_suffix(".reason").write_text(outcome.reason)

        process = multiprocessing.get_context("fork").Process(target=train)
        process.start()
        return process

    def ends_equal(self, output: Path) -> bool:
        """Resume until the end: whether the weights are those of the undisturbed run."""
        process = self.run(output)
        process.join(_HANGS)
        return process.exitcode == 0 and exported(output) == self.weights

    def output(self, name: str, trial: int) -> Path:
        """A new folder for a trial."""
        return self.folder / f"{name}-{trial}"


def exported(output: Path) -> bytes:
    """The exported weights of a run; nothing where there are none."""
    path = output / "weights" / "diffusion_pytorch_model.safetensors"
    return path.read_bytes() if path.is_file() else b""


def prepare(folder: Path, seed: int = 0) -> Trials:
    """Train without a disturbance, which also renders the views."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(values(folder)))
    train_autoencoder(config, [f"output={folder / 'views'}", "steps=1"])
    trials = Trials(config, folder, b"", 0.0, np.random.default_rng(seed))
    started = time.monotonic()
    process = trials.run(folder / "whole")
    process.join(_HANGS)
    seconds = time.monotonic() - started
    if process.exitcode:
        raise RuntimeError(f"the undisturbed run failed, see {folder / 'whole.log'}")
    return Trials(config, folder, exported(folder / "whole"), seconds, trials.rng)


def killed(trials: Trials, count: int) -> int:
    """Runs killed with SIGKILL at a random moment; a third of them twice. Returns how many lost nothing."""
    held = 0
    for trial in range(count):
        output = trials.output("killed", trial)
        for _ in range(1 + (trial % 3 == 0)):
            process = trials.run(output)
            process.join(float(trials.rng.uniform(0, trials.seconds)))
            process.kill()
            process.join()
        held += trials.ends_equal(output)
    return held


def damaged(trials: Trials, count: int, flip: bool) -> int:
    """Newest checkpoints of which a random file is cut at a random length, or has one wrong bit; how many were noticed.

    The run must say so, go back to the checkpoint before and end as if nothing had happened.
    """
    held = 0
    for trial in range(count):
        output = trials.output("flipped" if flip else "cut", trial)
        shutil.copytree(trials.folder / "whole" / "checkpoints", output / "checkpoints")
        newest = list_checkpoints(output / "checkpoints")[-1]
        files = sorted(path for path in newest.rglob("*") if path.is_file())
        file = files[int(trials.rng.integers(len(files)))]
        content = bytearray(file.read_bytes())
        place = int(trials.rng.integers(len(content)))
        if flip:
            content[place] ^= 1 << int(trials.rng.integers(8))
        else:
            content = content[:place]
        file.write_bytes(content)
        equal = trials.ends_equal(output)
        said = output.with_suffix(".log").read_text()
        held += equal and f"{newest.name} cannot be read: " in said and "going back to step-" in said
    return held


def with_clocks_set_back(trials: Trials, count: int) -> int:
    """Runs in two sittings, the second a day before the first by the system's clock; how many ended equal."""
    held = 0
    for trial in range(count):
        output = trials.output("clock", trial)
        process = trials.run(output)
        process.join(float(trials.rng.uniform(0.3, 0.8) * trials.seconds))
        process.terminate()
        process.join(_HANGS)
        real = time.time

        def set_back(real: Callable[[], float] = real) -> None:
            time.time = lambda: real() - 86_400.0

        process = trials.run(output, set_back)
        process.join(_HANGS)
        held += process.exitcode == 0 and exported(output) == trials.weights
    return held


def stopped(trials: Trials, method: str, number: int, trial: int) -> float:
    """Seconds from a signal until the end of a process that is measuring and would never finish it.

    Args:
        trials: the run.
        method: of the stage, what it measures or shows: ``validate`` or ``sample_grid``.
        number: the signal.
        trial: numbers the folder.

    Returns:
        Infinity where the process had to be killed, failed, or could not be resumed to the undisturbed run's weights.
    """
    output = trials.output(f"stopped-{method}-{number}", trial)
    sign = output.with_suffix(".sign")
    real = getattr(CropStage, method)

    def for_ever(stage: CropStage) -> object:
        sign.touch()
        while True:
            real(stage)

    process = trials.run(output, lambda: setattr(CropStage, method, for_ever))
    until = time.monotonic() + _HANGS
    while not sign.exists() and process.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(float(trials.rng.uniform(0, 0.3)))
    seconds = _interrupted(process, number, output)
    return seconds if trials.ends_equal(output) else float("inf")


def _interrupted(process: BaseProcess, number: int, output: Path) -> float:
    """Seconds from a signal until a run has ended and says "interrupted"; infinity if it fails or must be killed."""
    started = time.monotonic()
    if process.is_alive():
        os.kill(process.pid or 0, number)
    process.join(3 * PATIENCE)
    seconds = time.monotonic() - started
    ended = process.exitcode == 0 and output.with_suffix(".reason").read_text() == "interrupted"
    if process.is_alive():
        process.kill()
        process.join()
    return seconds if ended else float("inf")


def rendering_stopped(trials: Trials, number: int, trial: int) -> float:
    """Seconds from a signal until the end of `imagpose train` whose workers render views; infinity as for `stopped`.

    It is a process that was not forked: workers import what their parent's main module imports, here the command's. Infinity
    also where a file is half; blocks that were rendered before the signal may lie there whole.
    """
    output = trials.output(f"rendering-{number}", trial)
    views = output.with_name(f"{output.name}-views")
    changes = [f"data.folder={views}", "data.identities=4000", "data.block=2000", f"output={output}"]
    command = [sys.executable, "-m", "imagpose", "train", "autoencoder", "--config", str(trials.config), *changes]
    cores = usable_cores()
    expected = cores + 1 if cores > 1 else 0  # workers and multiprocessing's own process; one core renders by itself
    with output.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + _HANGS
    while process.poll() is None and len(children.read_text().split()) < expected and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(float(trials.rng.uniform(2, 4)))
    started = time.monotonic()
    process.send_signal(number)
    try:
        code = process.wait(3 * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    seconds = time.monotonic() - started
    ended = code == 0 and "interrupted at step 0" in output.with_suffix(".log").read_text()
    return seconds if ended and all(_is_whole_shard(file) for file in views.glob("*")) else float("inf")


def _is_whole_shard(file: Path) -> bool:
    try:
        load_shard(file)
    except ValueError:
        return False
    return file.suffix == ".safetensors"


def rows(trials: int) -> Iterator[tuple[str, int, Callable[[], int]]]:
    """What is tried, how often, and what tries it and says how often it held; a fifth of `trials` for signals and clocks."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = cache(lambda: prepare(Path(folder)))
        few = max(1, trials // 5)
        yield (
            "kill -9 at a random moment, resumed to equal weights",
            trials,
            lambda: killed(prepared(), trials),
        )
        what = "newest checkpoint {}, noticed, resumed from the one before to equal weights"
        yield what.format("cut at a random length"), trials, lambda: damaged(prepared(), trials, flip=False)
        yield what.format("with one wrong bit"), trials, lambda: damaged(prepared(), trials, flip=True)
        what = "clock set back by a day between two sittings, equal weights"
        yield what, few, lambda: with_clocks_set_back(prepared(), few)
        for method in ("validate", "sample_grid"):
            for number in (signal.SIGTERM, signal.SIGINT):
                what = f"{number.name} in {method}, ends within {PATIENCE:.0f} s, then equal weights"
                yield what, few, lambda own=(method, number): _in_time(stopped, prepared(), *own, few)
        what = f"SIGTERM while views are rendered, ended within {PATIENCE:.0f} s, no half file"
        yield what, few, lambda: _in_time(rendering_stopped, prepared(), signal.SIGTERM, few)


def _in_time(stop: Callable[..., float], *arguments: Any) -> int:
    """How many of the last argument's number of trials ended in time."""
    *given, count = arguments
    return sum(stop(*given, trial) <= PATIENCE for trial in range(count))
