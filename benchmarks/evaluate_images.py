"""How long `imagpose evaluate images` takes without networks: wall-clock and processor time, both protocols.

python benchmarks/evaluate_images.py [--pairs 1000] [--size 256x176] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from imagpose.workers import default_to_one_thread

default_to_one_thread()  # before numpy starts its threads; the workers have one each

import numpy as np
from PIL import Image

from imagpose.evaluation.images import ImageFolders, evaluate_images
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.networks import Needs, Networks


def write_pairs(folder: Path, pairs: int, height: int, width: int) -> None:
    """References with broad shapes and some noise, as photos have, and generated pictures that differ from them."""
    generator = np.random.default_rng(0)
    for role in ("reference", "generated"):
        (folder / role).mkdir()
    for number in range(pairs):
        coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
        truth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
        for role, noise in (("reference", 3), ("generated", 10)):
            values = (truth + generator.normal(0, noise, truth.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(values).save(folder / role / f"{number:05d}.png")


def processor_time() -> float:
    """Seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(own.ru_utime + own.ru_stime for own in used)


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--size", default="256x176", help="height x width in pixels")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    absent = Needs("not measured here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, arguments.pairs, height, width)
        wall, processor = time.perf_counter(), processor_time()
        settings = MeasureSettings(workers=arguments.workers, networks=Networks(absent, absent, absent))
        evaluate_images(ImageFolders(folder / "generated", folder / "reference"), folder / "out", settings)
        wall, processor = time.perf_counter() - wall, processor_time() - processor
    print(
        f"{arguments.pairs} pairs of {height}x{width}, {arguments.workers} worker(s): {wall:.0f} s,"
        f" {processor:.0f} s of processor time",
        flush=True,
    )


if __name__ == "__main__":
    main()
