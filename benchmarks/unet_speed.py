"""What a call of the UNet costs on this machine: ours, the reference, their ratio and the error, in one table.

python benchmarks/unet_speed.py [--preset official] [--size 256x192] [--canvases 2] [--rounds 3] [--threads N]
    [--only TEXT]

The reference is the preset in eager fp32 with torch's fused attention. Every way gets the same weights (random; layers that
start at zero get noise) and inputs; it takes turns with the reference, so that what else the machine does hits both, and
medians count. "first" is what the first call takes, all that comes before it counted: copies, casts, exporting, compiling
(nothing is there from before). The error is the norm of the difference over that of the reference's output.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch

from imagpose.io import error_line
from imagpose.models import exported
from imagpose.models.kept_features import KeptFeatures
from imagpose.models.onednn import route_by_onednn
from imagpose.models.unet import IMAGPoseUNet
from imagpose.workers import usable_cores
from random_networks import GRID, build, make_inputs

Run = Callable[[], torch.Tensor]


def plain(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Run:
    """The reference, and every eager way."""
    return lambda: unet(**inputs, return_dict=False)[0].float()


def cast(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs in bf16."""
    return {
        name: value.bfloat16() if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in inputs.items()
    }


@contextmanager
def onednn(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    """Shares the reference's layers, so it switches at every call."""

    def run() -> torch.Tensor:
        route_by_onednn(unet)
        try:
            return plain(unet, inputs)()
        finally:
            route_by_onednn(unet, on=False)

    yield run


@contextmanager
def features_kept(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    """The first call, which does not count, computes all layers; those behind it keep the deep ones' features."""
    kept = KeptFeatures(unet, sys.maxsize)
    with onednn(unet, inputs) as run:

        def keep() -> torch.Tensor:
            with kept.call():
                return run()

        yield keep


@contextmanager
def onednn_fused(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    own = copy.deepcopy(unet)
    own.fuse_qkv_projections()
    route_by_onednn(own)
    yield plain(own, inputs)


@contextmanager
def channels_last(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    own = copy.deepcopy(unet).to(memory_format=torch.channels_last)
    route_by_onednn(own)
    sample = inputs["sample"].contiguous(memory_format=torch.channels_last)
    yield plain(own, {**inputs, "sample": sample})


@contextmanager
def bf16(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    yield plain(copy.deepcopy(unet).bfloat16(), cast(inputs))


@contextmanager
def bf16_channels_last(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    own = copy.deepcopy(unet).bfloat16().to(memory_format=torch.channels_last)
    yield plain(own, cast(inputs))


@contextmanager
def compiled(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    program = torch.compile(unet, dynamic=False)
    with TemporaryDirectory() as folder, mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder):
        yield lambda: program(**inputs, return_dict=False)[0].float()
    torch._dynamo.reset()


@contextmanager
def openvino(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    with TemporaryDirectory() as folder:
        program = exported.ExportedUNet(unet, Path(folder))
        yield lambda: program(**inputs)[0]


@contextmanager
def openvino_bf16(unet: IMAGPoseUNet, inputs: dict[str, Any]) -> Iterator[Run]:
    with openvino(copy.deepcopy(unet).bfloat16(), inputs) as run:
        yield run


WAYS = {
    "oneDNN": onednn,
    "oneDNN, deep features kept": features_kept,
    "oneDNN, q k v fused": onednn_fused,
    "oneDNN, channels_last": channels_last,
    "bf16": bf16,
    "bf16, channels_last": bf16_channels_last,
    "openvino": openvino,
    "openvino, bf16": openvino_bf16,
    "compiled": compiled,
}


def compare(run: Run, reference: Run, rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, which take turns, and the relative error; a round before them warms up."""
    output, truth = run(), reference()
    error = float((output - truth).norm() / truth.norm())
    seconds: list[tuple[float, float]] = []
    for _ in range(rounds):
        marks = [time.perf_counter()]
        for own in (run, reference):
            own()
            marks.append(time.perf_counter())
        seconds.append((marks[1] - marks[0], marks[2] - marks[1]))
    return statistics.median(own for own, _ in seconds), statistics.median(other for _, other in seconds), error


def main() -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="official")
    parser.add_argument("--size", default="256x192", help="height x width of a padded view in pixels")
    parser.add_argument("--canvases", type=int, default=2, help="2 are a step of one canvas with guidance")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only", default="", help="the way of this name, or all whose name contains it")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    height, width = (int(side) for side in given.size.split("x"))
    with torch.no_grad():
        unet = build(given.preset).unet.requires_grad_(False)
        inputs = make_inputs(unet, given.canvases, height, width)
        print(
            f"preset {given.preset}, {given.canvases} canvas(es) of {GRID} views of {height}x{width},"
            f" {given.threads} thread(s), torch {torch.__version__}\n"
        )
        print("| way | ours, s | reference, s | ratio | error | first, s |", flush=True)
        print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
        for name, way in WAYS.items():
            asked = name == given.only if given.only in WAYS else given.only in name
            if not asked or (name.startswith("openvino") and not exported.is_installed()):
                continue
            try:
                begun = time.perf_counter()
                with way(unet, inputs) as run:
                    run()
                    first = time.perf_counter() - begun
                    ours, reference, error = compare(run, plain(unet, inputs), given.rounds)
            except Exception as failure:  # of compilers, of any class
                print(f"| {name} | {error_line(failure, 200)} | | | | |", flush=True)
                continue
            numbers = f"{ours:.3f} | {reference:.3f} | {reference / ours:.2f} | {error:.1e} | {first:.1f}"
            print(f"| {name} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
