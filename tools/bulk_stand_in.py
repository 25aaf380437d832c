"""A stand-in for the pipeline, for trials and benchmarks of bulk jobs; a table of requests for it; a job with it.

python tools/bulk_stand_in.py TABLE --out FOLDER --engine ray --workers 2
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagpose.pose.library import library
from imagpose.serving.bulk import run_bulk
from imagpose.serving.bulk.engines import Engine, LocalEngine, RayEngine

FAILING_SEED, KILLING_SEED = 6_660_001, 6_660_002
"""Seeds at which a stand-in raises an error, and at which it kills its own process."""
STAND_IN = "trial/stand-in"
"""Its name, which reads like a Hub id."""
_HEIGHT, _WIDTH = 64, 32


class _Config(dict[str, Any]):
    """Settings by name and as attributes, as diffusers' pipelines have them."""

    __getattr__ = dict.__getitem__


class _Network(torch.nn.Module):
    dtype = torch.float32


class _Backend:
    def record(self) -> dict[str, Any]:
        """What a pipeline's backend says of itself."""
        return {"asked": "torch", "used": ["torch"]}


class StandIn:
    """Its pictures are noise from a digest of sources, pose and seed: any difference in what was asked for shows.

    Args:
        seconds: that each request takes.
    """

    name_or_path = STAND_IN
    device, backend = "cpu", _Backend()
    components = {"unet": _Network()}
    config = _Config(view_height=_HEIGHT, view_width=_WIDTH)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seeds: list[int] = []

    def set_progress_bar_config(self, **_: Any) -> None:
        """A pipeline has it."""

    def __call__(
        self, sources: Any, target_poses: Any, generator: Any, height: int, width: int, **_: Any
    ) -> tuple[list[list[Image.Image]]]:
        """One picture for each pose of each request."""
        seeds = [own.initial_seed() for own in generator]
        self._misbehave(seeds)
        time.sleep(self.seconds * len(set(seeds)))
        self.seeds += seeds
        requests = zip(sources, target_poses, seeds, strict=True)
        return (
            [[stand_in_picture(given, pose, seed, height, width) for pose in poses] for given, poses, seed in requests],
        )

    def _misbehave(self, seeds: Sequence[int]) -> None:
        if KILLING_SEED in seeds:
            os.kill(os.getpid(), signal.SIGKILL)
        if FAILING_SEED in seeds:
            raise RuntimeError("the stand-in fails at this seed")


def stand_in_picture(sources: Sequence[Image.Image], pose: Any, seed: int, height: int, width: int) -> Image.Image:
    """What a stand-in answers to a source, or several, and a pose."""
    digest = hashlib.sha256(str(seed).encode())
    for own in sources:
        digest.update(own.tobytes())
    digest.update(pose.keypoints.tobytes())
    noise = np.random.default_rng(list(digest.digest())).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(noise.repeat(8, axis=0).repeat(8, axis=1))


def write_table(folder: Path, count: int, size: tuple[int, int] = (_HEIGHT, _WIDTH), poses: int = 1) -> Path:
    """A table of `count` requests with a few pictures beside it, of `size`; of `poses` poses of the library each."""
    (folder / "sources").mkdir(parents=True, exist_ok=True)
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "sources" / f"{number}.png")
    names = list(library())
    with (folder / "requests.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "sources", "poses", "seed"])
        for number in range(count):
            asked = ";".join(names[(number + own) % len(names)] for own in range(poses))
            table.writerow([f"r{number:06d}", f"sources/{number % 4}.png", asked, number])
    return folder / "requests.csv"


def engine_of(name: str, workers: int) -> Engine:
    """An engine by its name."""
    return RayEngine(workers) if name == "ray" else LocalEngine(workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--format", default="files")
    parser.add_argument("--engine", default="local")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0)
    given = parser.parse_args()
    done = run_bulk(
        given.table, given.out, model=STAND_IN, form=given.format, engine=engine_of(given.engine, given.workers),
        open_model=partial(StandIn, given.seconds),
    )  # fmt: skip
    print(f"{len(done.made)} made, {len(done.kept)} were there, {len(done.failed)} failed")


if __name__ == "__main__":
    main()
