"""What the sections of `gpu.py` have in common: a model and its inputs, time, memory and error on a device."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from imagpose.io import error_line
from random_networks import build, make_inputs

Result = dict[str, Any]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Bench:
    """What the sections share.

    Attributes:
        device: where everything runs.
        small: networks and canvases of a test.
        deadline: of `time.monotonic`, in seconds.
    """

    device: torch.device
    small: bool
    deadline: float

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def backend(self) -> str:
        """Of torch.compile; on a CPU only the tracing is tried, since compiling takes minutes."""
        return "inductor" if self.on_gpu else "eager"

    @property
    def rounds(self) -> int:
        return 1 if self.small else 10

    def sizes(self) -> list[tuple[int, int]]:
        """Height x width of a view."""
        return [(64, 48)] if self.small else [(256, 176), (512, 352)]

    def presets(self) -> list[str]:
        """Whole models, largest last."""
        return ["mini", "official"]


class Model:
    """The networks of a preset with random weights in fp32, and inputs for canvases of 2x2 views."""

    def __init__(self, bench: Bench, preset: str, size: tuple[int, int], small: bool | None = None) -> None:
        parts = build(preset, bench.small if small is None else small, bench.device)
        self.unet = parts.unet
        self.networks = nn.ModuleList([parts.unet, parts.pose_encoder, parts.feature_tokens])
        self.bench, self.size = bench, size

    def inputs(self, batch: int, dtype: torch.dtype) -> dict[str, Any]:
        """Arguments of the UNet; the same random numbers in every precision."""
        return make_inputs(self.unet, batch, *self.size, dtype)

    @torch.no_grad()
    def output(self, dtype: torch.dtype) -> torch.Tensor:
        """The UNet's output in float32, from its own weights rounded to `dtype`."""
        unet = self.unet if dtype == torch.float32 else copy.deepcopy(self.unet).to(dtype)
        output: torch.Tensor = unet(**self.inputs(1, dtype)).sample.float()
        return output


def synchronise(bench: Bench) -> None:
    """Wait for the device."""
    if bench.on_gpu:
        torch.cuda.synchronize()


def median_seconds(bench: Bench, run: Callable[[], object], warm_up: int = 2) -> float:
    """Median wall-clock seconds of `run`."""
    for _ in range(1 if bench.small else warm_up):
        run()
    seconds = []
    for _ in range(bench.rounds):
        synchronise(bench)
        begun = time.perf_counter()
        run()
        synchronise(bench)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def peak_gibibytes(bench: Bench, run: Callable[[], object]) -> float | None:
    """Most memory that torch holds during `run`, weights included; None on a CPU."""
    if not bench.on_gpu:
        run()
        return None
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**30


def relative_error(output: torch.Tensor, truth: torch.Tensor) -> float:
    """Norm of the difference over the truth's norm; infinite where a value is not finite."""
    if not output.isfinite().all():
        return float("inf")
    return float((output - truth).norm() / truth.norm())


def attempt(what: Result, measure: Callable[[], Result]) -> Result:
    """A measurement, or why there is none: no C++ compiler, no Python headers, no kernel, too little memory."""
    try:
        return {**what, **measure()}
    except Exception as error:
        return {**what, "failed": one_line(error)}


def one_line(error: Exception) -> str:
    """What an error is, and says."""
    return error_line(f"{type(error).__name__}: {error}", 300)
