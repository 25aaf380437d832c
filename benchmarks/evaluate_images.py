"""How long `imagpose evaluate images` takes, metric by metric: both protocols, networks of equal shape with random weights.

python benchmarks/evaluate_images.py [--pairs 1000] [--size 256x176] [--workers 2] [--without-networks]

"cores" is processor time by wall-clock time: 1.0 is a metric that leaves all cores but one idle. The networks are LPIPS's
AlexNet, layer by layer, and one of as many products as Inception v3 at the places of both FIDs: what they find means
nothing, what they cost is the same.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagpose.workers import default_to_one_thread

default_to_one_thread()  # before numpy starts its threads; the workers have one each

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from imagpose.evaluation.images import ImageFolders, evaluate_images
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.networks import Needs, Network, Networks
from imagpose.evaluation.store import ValueStore
from imagpose.metrics.detail import detail_correlation, gradient_energy
from imagpose.metrics.field import field_ssim, field_ssim_window
from imagpose.metrics.pixels import psnr, ssim

_ALEXNET = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
_POOLED = (1, 2)  # layers behind a pooling
# side of the map, channels and number of 3x3 convolutions: 5.7 billion products a picture, as in Inception v3
_INCEPTION = ((149, 64, 2), (73, 192, 2), (37, 256, 3), (19, 512, 1), (10, 1024, 2))
_PAIR = ("generated", "reference")
_ALONE = 50  # pairs on which single measures are timed


def write_pairs(folder: Path, pairs: int, height: int, width: int) -> None:
    """References with broad shapes and some noise, as photos have, generated pictures that differ from them, and masks."""
    generator = np.random.default_rng(0)
    for role in ("reference", "generated", "masks", "train"):
        (folder / role).mkdir()
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    mask = Image.fromarray((255 * (rows**2 + (1.5 * columns) ** 2 < 0.8)).astype(np.uint8))
    for number in range(pairs):
        coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
        truth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
        for role, noise in (("reference", 3), ("generated", 10), ("train", 5)):
            values = (truth + generator.normal(0, noise, truth.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(values).save(folder / role / f"{number:05d}.png")
        mask.save(folder / "masks" / f"{number:05d}.png")


def stand_ins() -> Networks:
    """The three networks, with random weights."""
    torch.manual_seed(0)
    alexnet = nn.ModuleList(nn.Conv2d(*layer) for layer in _ALEXNET).eval()
    inception = nn.ModuleList()
    width = 3
    for _, channels, count in _INCEPTION:
        inception.append(nn.Sequential(*(nn.Conv2d(width if i == 0 else channels, channels, 3) for i in range(count))))
        width = channels
    head = nn.Linear(width, 2048)

    def distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(one))
        both = torch.cat([one, other])
        for number, layer in enumerate(alexnet):
            both = functional.relu(layer(functional.max_pool2d(both, 3, 2) if number in _POOLED else both))
            ours, theirs = functional.normalize(both, dim=1).chunk(2)
            total += (ours - theirs).square().sum(1).mean((1, 2))
        return total

    def features(pixels: torch.Tensor) -> torch.Tensor:
        maps = pixels.float() / 255
        for (side, _, _), layers in zip(_INCEPTION, inception, strict=True):
            maps = functional.relu(layers(functional.interpolate(maps, (side, side), mode="bilinear")))
        pooled: torch.Tensor = head(maps.mean((2, 3)))
        return pooled

    fid = Network(features, "stand-in")
    return Networks(Network(distances, "stand-in"), fid, fid, Needs("not measured here"))


def used() -> tuple[float, float]:
    """Wall-clock seconds, and seconds of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(own.ru_utime + own.ru_stime for own in spent)


def time_values() -> dict[str, tuple[float, float]]:
    """From now on the wall-clock and processor seconds of each kind of value that a store computes."""
    found: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    plain = ValueStore.values

    def timed(self: ValueStore, what: str, *given: Any, **more: Any) -> np.ndarray:
        before = used()
        values = plain(self, what, *given, **more)
        name, after = what.split()[0], used()
        found[name] = found[name][0] + after[0] - before[0], found[name][1] + after[1] - before[1]
        return values

    ValueStore.values = timed  # type: ignore[method-assign]
    return found


def single_measures(folder: Path, pairs: int) -> dict[str, float]:
    """Milliseconds of a pair, one thread, of what "clean-pixels" and "field-pixels" are made of."""
    files = sorted((folder / "generated").iterdir())[: min(pairs, _ALONE)]
    made, truths = ([np.asarray(Image.open(folder / role / own.name)) for own in files] for role in _PAIR)
    mask = np.asarray(Image.open(folder / "masks" / files[0].name)) > 127
    floats = [(one.astype(np.float32), other.astype(np.float32)) for one, other in zip(made, truths, strict=True)]
    measures: dict[str, Callable[[int], Any]] = {
        "SSIM": lambda n: ssim(made[n], truths[n]),
        "SSIM in the mask": lambda n: ssim(made[n], truths[n], mask),
        "PSNR": lambda n: psnr(made[n], truths[n]),
        "gradient energy": lambda n: gradient_energy(made[n], mask),
        "detail correlation": lambda n: detail_correlation(made[n], truths[n], mask),
        "field SSIM": lambda n: field_ssim(*floats[n]),
        "field SSIM, window of 51": lambda n: field_ssim_window(*floats[n]),
        "reading both files": lambda n: [np.asarray(Image.open(folder / role / files[n].name)) for role in _PAIR],
    }
    found = {}
    for name, measure in measures.items():
        started = time.perf_counter()
        for number in range(len(files)):
            measure(number)
        found[name] = 1000 * (time.perf_counter() - started) / len(files)
    return found


def main() -> None:
    """Print two tables and one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--size", default="256x176", help="height x width in pixels")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--without-networks", action="store_true")
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    absent = Needs("not measured here")
    torch.set_num_threads(arguments.workers)
    networks = Networks(absent, absent, absent, absent) if arguments.without_networks else stand_ins()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, arguments.pairs, height, width)
        by_kind, before = time_values(), used()
        settings = MeasureSettings(workers=arguments.workers, networks=networks)
        folders = ImageFolders(
            folder / "generated", folder / "reference", train=folder / "train", masks=folder / "masks"
        )
        evaluate_images(folders, folder / "out", settings)
        wall, processor = (after - start for after, start in zip(used(), before, strict=True))
        alone = single_measures(folder, arguments.pairs)
    print(f"{'values':28s} {'s':>8s} {'cores':>6s} {'pairs/s':>8s}")
    rest = wall, processor
    for kind, (own_wall, own_processor) in by_kind.items():
        rest = rest[0] - own_wall, rest[1] - own_processor
        print(f"{kind:28s} {own_wall:8.1f} {own_processor / own_wall:6.2f} {arguments.pairs / own_wall:8.1f}")
    print(f"{'finding, distances, report':28s} {rest[0]:8.1f} {rest[1] / rest[0]:6.2f}")
    print(f"\n{'one measure, one thread':28s} {'ms a pair':>9s}")
    for measure, milliseconds in alone.items():
        print(f"{measure:28s} {milliseconds:9.2f}")
    print(
        f"\n{arguments.pairs} pairs of {height}x{width}, {arguments.workers} worker(s): {wall:.0f} s,"
        f" {processor:.0f} s of processor time",
        flush=True,
    )


if __name__ == "__main__":
    main()
