"""How long `imagpose evaluate images` takes, metric by metric: both protocols, networks of equal shape with random weights.

python benchmarks/evaluate_images.py [--pairs 1000] [--size 256x176] [--workers 2] [--without-networks]

The references are views of rendered people of the test split, so that pose, silhouette and identity are judged too; the
generated pictures are the same with noise. "s" is wall-clock time, "processor" that of all threads and processes, "cores"
how many were busy: 1.0 leaves all but one idle. Cores are processor time by that of what goes on in a row, the main thread's
and one worker's, and pairs/s are those of the latter: other programs stretch both little. The networks are LPIPS's AlexNet,
layer by layer, and one of as many products as Inception v3 at the places of both FIDs: what they find means nothing, what
they cost is the same. Without networks, LPIPS, FID and judges are left out.
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

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else threads that wait are taken for threads that work

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from imagpose.data.dataset import PersonDataset
from imagpose.data.rendered import prepare_people
from imagpose.evaluation import measure as measuring
from imagpose.evaluation.images import ImageFolders, evaluate_images
from imagpose.evaluation.judging import RenderedPeople
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.networks import Needs, Network, Networks
from imagpose.evaluation.store import ValueStore
from imagpose.metrics.detail import detail_correlation, gradient_energy
from imagpose.metrics.field import field_ssim, field_ssim_window
from imagpose.metrics.pixels import psnr, ssim
from imagpose.workers import usable_cores

_ALEXNET = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
_POOLED = (1, 2)  # layers behind a pooling
# side of the map, channels and number of 3x3 convolutions: 5.7 billion products a picture, as in Inception v3
_INCEPTION = ((149, 64, 2), (73, 192, 2), (37, 256, 3), (19, 512, 1), (10, 1024, 2))
_PAIR = ("generated", "reference")
_VIEWS = 8  # of a person
_ALONE = 50  # pairs on which single measures are timed
Times = dict[str, np.ndarray]


def write_pairs(folder: Path, pairs: int, height: int, width: int, workers: int) -> None:
    """A data set of rendered people, its views as references, and what differs from them by noise; masks."""
    people = -(-pairs // _VIEWS)
    prepare_people(0, 1, _VIEWS, height, width, folder / "people", test_people=people, workers=workers)
    generator, left = np.random.default_rng(0), pairs
    dataset = PersonDataset(folder / "people", "test")
    for identity in dataset.identities:
        for record in dataset.views(identity)[:left]:
            truth = np.asarray(record.decode())
            for role, noise in (("reference", 0), ("generated", 10), ("train", 5)):
                file = folder / role / f"{record.name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                values = truth + generator.normal(0, noise, truth.shape).astype(np.float32)
                Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(file, compress_level=1)
            mask = folder / "masks" / f"{record.name}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(record.foreground(), np.uint8) * 255).save(mask)
            left -= 1


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


def used(workers: int) -> np.ndarray:
    """Wall-clock seconds, processor seconds of all, and those in a row: this thread's, and a share of the workers'."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)  # those that have ended
    theirs = children.ru_utime + children.ru_stime
    return np.array([time.perf_counter(), time.process_time() + theirs, time.thread_time() + theirs / workers])


def timed(times: Times, workers: int, work: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
    """The same work, whose seconds are added to those of its name."""

    def run(*given: Any, **more: Any) -> Any:
        before = used(workers)
        result = work(*given, **more)
        times[name(*given, **more)] += used(workers) - before
        return result

    return run


def time_parts(workers: int) -> Times:
    """From now on the seconds, as of `used`, of each kind of value, and of what is made of them."""
    times: Times = defaultdict(lambda: np.zeros(3))

    def wrap(place: Any, function: str, name: Callable[..., str]) -> None:
        setattr(place, function, timed(times, workers, getattr(place, function), name))

    wrap(ValueStore, "values", lambda store, what, *given, **more: what.split()[0])
    wrap(RenderedPeople, "ranks", lambda *given: "rank-1: gallery, search")
    wrap(measuring, "frechet_distance", lambda *given: "Frechet distances")
    wrap(measuring, "mean_row", lambda *given: "means and intervals")
    return times


def single_measures(folder: Path, pairs: int) -> dict[str, float]:
    """Milliseconds of a pair, one thread, of what "clean-pixels" and "field-pixels" are made of."""
    files = sorted((folder / "generated").rglob("*.png"))[: min(pairs, _ALONE)]
    names = [own.relative_to(folder / "generated") for own in files]
    made, truths = ([np.asarray(Image.open(folder / role / own)) for own in names] for role in _PAIR)
    masks = [np.asarray(Image.open(folder / "masks" / own)) > 127 for own in names]
    floats = [(one.astype(np.float32), other.astype(np.float32)) for one, other in zip(made, truths, strict=True)]
    measures: dict[str, Callable[[int], Any]] = {
        "SSIM": lambda n: ssim(made[n], truths[n]),
        "SSIM in the mask": lambda n: ssim(made[n], truths[n], masks[n]),
        "PSNR": lambda n: psnr(made[n], truths[n]),
        "gradient energy": lambda n: gradient_energy(made[n], masks[n]),
        "detail correlation": lambda n: detail_correlation(made[n], truths[n], masks[n]),
        "field SSIM": lambda n: field_ssim(*floats[n]),
        "field SSIM, window of 51": lambda n: field_ssim_window(*floats[n]),
        "reading both files": lambda n: [np.asarray(Image.open(folder / role / names[n])) for role in _PAIR],
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
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--without-networks", action="store_true")
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    absent = Needs("not measured here")
    networks = Networks(absent, absent, absent, absent) if arguments.without_networks else stand_ins()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, arguments.pairs, height, width, arguments.workers)
        print(f"{arguments.pairs} pairs of {height}x{width} are written", flush=True)
        times, before = time_parts(arguments.workers), used(arguments.workers)
        settings = MeasureSettings(workers=arguments.workers, networks=networks)
        folders = ImageFolders(
            folder / "generated", folder / "reference", train=folder / "train", masks=folder / "masks",
            data=None if arguments.without_networks else folder / "people",
        )  # fmt: skip
        evaluate_images(folders, folder / "out", settings)
        whole = used(arguments.workers) - before
        alone = single_measures(folder, arguments.pairs)
    print(f"{'values':28s} {'s':>8s} {'processor':>10s} {'cores':>6s} {'pairs/s':>8s}")
    times["finding, reading, report"] = whole - np.sum(list(times.values()), axis=0)
    for kind, (wall, processor, in_a_row) in times.items():
        rate = arguments.pairs / in_a_row
        print(f"{kind:28s} {wall:8.1f} {processor:10.1f} {processor / in_a_row:6.2f} {rate:8.1f}")
    print(f"\n{'one measure, one thread':28s} {'ms a pair':>9s}")
    for measure, milliseconds in alone.items():
        print(f"{measure:28s} {milliseconds:9.2f}")
    print(
        f"\n{arguments.pairs} pairs of {height}x{width}, {arguments.workers} worker(s): {whole[0]:.0f} s,"
        f" {whole[1]:.0f} s of processor time",
        flush=True,
    )


if __name__ == "__main__":
    main()
