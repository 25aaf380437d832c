"""Proves on a GPU, within minutes, what could only be written for one: parity, speed and memory, by section.

python benchmarks/gpu.py [--minutes 9] [--out gpu.jsonl] [--small] [--device cuda] [--only TEXT]

Networks are fresh, with random weights: nothing is downloaded. Every result is a line of JSON, written as soon as it is
known; what fails or runs out of memory says so, and the next measurement begins. Sections share the time that is left, and
compile last, which takes longest; when a section's share is up, it says so. Sections: parity of precisions and of compiled
code with fp32; kernels of attention; whole steps with the settings of cards of 24 and 80 GB; a step of sampling; a picture;
a step of training, its share of the matrix products' speed. `--small` shrinks every network and canvas, so that a CPU runs
the same code in a minute.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, product
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gpu_measuring import (
    PRECISIONS,
    Bench,
    Model,
    Result,
    attempt,
    median_seconds,
    one_line,
    peak_gibibytes,
    relative_error,
    synchronise,
)
from imagpose.devices import choose_device
from imagpose.io import error_line
from imagpose.models.presets import PRESETS, find_preset
from imagpose.models.sizes import build_empty
from random_networks import GRID, padded_view

_GUIDED_STEPS = 20
"""Steps of a picture; with guidance each evaluates two canvases."""


def parity(bench: Bench) -> Iterator[Result]:
    """Every preset small, then the whole ones: the UNet in each precision, then compiled, against fp32 on the device."""
    cases = [(name, True) for name in PRESETS if bench.on_gpu or name in bench.presets()]
    if not bench.small:
        cases += [(name, False) for name in bench.presets()]
    for precisions in (("bf16", "fp16"), ("fp32 compiled",)):
        for name, small in cases:
            if "fp32 compiled" in precisions and name not in bench.presets():
                continue
            model = Model(bench, name, (64, 48) if small else bench.sizes()[0], small)
            truth = model.output(torch.float32)
            for precision in precisions:
                what = {"preset": name, "size": "small" if small else "whole", "precision": precision}
                yield attempt(what, partial(_error, model, precision, truth))


def _error(model: Model, precision: str, truth: torch.Tensor) -> Result:
    if precision == "fp32 compiled":
        torch._dynamo.reset()
        model.unet.compile(backend=model.bench.backend)
    return {"error": relative_error(model.output(PRECISIONS.get(precision, torch.float32)), truth)}


def attention(bench: Bench) -> Iterator[Result]:
    """Kernels of scaled_dot_product_attention on the UNet's largest joint self-attention, bf16."""
    heads, tokens, width = (2, 64, 16) if bench.small else (8, 4 * 64 * 44, 40)
    query, key, value = (
        torch.randn(2, heads, tokens, width, device=bench.device, dtype=torch.bfloat16) for _ in range(3)
    )
    for backend in (
        SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH,
    ):  # fmt: skip
        what = {"kernel": backend.name.lower(), "tokens": tokens}

        def run(backend: SDPBackend = backend) -> None:
            with sdpa_kernel(backend):
                nn.functional.scaled_dot_product_attention(query, key, value)

        try:
            yield {**what, "seconds": median_seconds(bench, run)}
        except RuntimeError as error:  # not on this device, or not for these shapes
            yield {**what, "skipped": error_line(error, 120)}


def sampling(bench: Bench) -> Iterator[Result]:
    """A guided step (two canvases) of each model: eager fp16, bf16, channels_last, compiled; ratios to eager fp16."""
    eager: list[tuple[str, str, bool, str | None]] = [
        ("eager", "fp16", False, None),
        ("eager", "bf16", False, None),
        ("channels_last", "bf16", True, None),
    ]
    compiled: list[tuple[str, str, bool, str | None]] = [
        ("compiled", "bf16", True, "default"),
        ("compiled, CUDA graphs", "bf16", True, "reduce-overhead"),
    ]
    first: dict[tuple[str, tuple[int, int]], float] = {}
    for ways in (eager, compiled) if bench.on_gpu else (eager,):
        for name, size in product(bench.presets(), bench.sizes()):
            model = Model(bench, name, size)
            for way, precision, channels_last, mode in ways:
                what = {"preset": name, "size": f"{size[0]}x{size[1]}", "way": way, "precision": precision}
                step = partial(_sampling_step, model, PRECISIONS[precision], channels_last, mode)
                result = attempt(what, step)
                if precision == "fp16" and "seconds" in result:
                    first[name, size] = result["seconds"]
                if (name, size) in first and "seconds" in result:
                    result["speed"] = first[name, size] / result["seconds"]
                yield result


def _sampling_step(model: Model, dtype: torch.dtype, channels_last: bool, mode: str | None) -> Result:
    bench = model.bench
    model.networks.to(dtype)
    model.unet.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    inputs = model.inputs(2, dtype)
    torch._dynamo.reset()
    forward: Callable[..., Any] = model.unet if mode is None else torch.compile(model.unet, mode=mode)

    @torch.no_grad()
    def run() -> None:
        forward(**inputs)

    begun = time.perf_counter()
    run()
    synchronise(bench)
    first = time.perf_counter() - begun  # compiling counts here
    seconds = median_seconds(bench, run)
    peak = peak_gibibytes(bench, run)
    return {"first_seconds": first, "seconds": seconds, "picture_seconds": seconds * _GUIDED_STEPS, "peak_gib": peak}


def matmul_speed(bench: Bench) -> float:
    """FLOP/s of large bf16 matrix products."""
    side = 256 if bench.small else 8192
    one, other = (torch.randn(side, side, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / median_seconds(bench, lambda: one @ other)


def training(bench: Bench) -> Iterator[Result]:
    """Training steps in bf16 autocast, with and without gradient checkpointing, then compiled: canvases per second."""
    speed = matmul_speed(bench)
    yield {"what": "bf16 matrix products", "tflops": speed / 1e12}
    size = bench.sizes()[0]
    eager = [(name, checkpointing, False) for name in bench.presets() for checkpointing in (False, True)]
    for name, checkpointing, compiled in eager + [(name, False, True) for name in bench.presets() if bench.on_gpu]:
        what = {
            "preset": name,
            "size": f"{size[0]}x{size[1]}",
            "checkpointing": checkpointing,
            "compiled": compiled,
        }
        yield attempt(what, partial(_training_rate, bench, name, checkpointing, compiled, speed))


def _training_rate(bench: Bench, name: str, checkpointing: bool, compiled: bool, speed: float) -> Result:
    batch = 2 if bench.small else 8
    model = Model(bench, name, bench.sizes()[0])
    work = _flops(model, batch)
    step = _training_step(model, batch, checkpointing, compiled)
    seconds = median_seconds(bench, step)
    return {
        "canvases_per_second": batch / seconds,
        "share_of_matmul_speed": work / seconds / speed,
        "peak_gib": peak_gibibytes(bench, step),
    }


def _loss(model: Model, inputs: Result) -> Any:
    with torch.autocast(model.bench.device.type, torch.bfloat16):
        output = model.unet(**inputs).sample
    return output.float().square().mean()


def _flops(model: Model, batch: int) -> float:
    """Of forward and backward, without recomputation."""
    with FlopCounterMode(display=False) as counter:
        _loss(model, model.inputs(batch, torch.float32)).backward()
    model.unet.zero_grad()
    return float(counter.get_total_flops())


def _training_step(
    model: Model,
    batch: int,
    checkpointing: bool,
    compiled: bool = False,
    ema_on_cpu: bool = False,
    optimizer: str = "adamw",
) -> Callable[[], None]:
    """Forward, backward, clipping, AdamW (fused, or with moments of 8 bits), EMA."""
    model.networks.train()
    inputs = model.inputs(batch, torch.float32)
    parameters = list(model.networks.parameters())
    if optimizer == "adamw8bit":
        update = import_module("bitsandbytes").optim.AdamW8bit(parameters, 1e-5)
    else:
        update = torch.optim.AdamW(parameters, 1e-5, fused=True)
    shadow = EMAModel([weight.cpu() for weight in parameters] if ema_on_cpu else parameters, foreach=True)
    if checkpointing:
        model.unet.enable_gradient_checkpointing()
    if compiled:
        torch._dynamo.reset()
        model.unet.compile(backend=model.bench.backend)

    def step() -> None:
        _loss(model, inputs).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        update.step()
        update.zero_grad()
        shadow.step([weight.cpu() for weight in parameters] if ema_on_cpu else parameters)

    return step


def cards(bench: Bench) -> Iterator[Result]:
    """One step of the largest model and size with the settings of cards of 24 and 80 GB: does it fit?

    VAE and image encoder, which are frozen, encode every canvas on the card, as in a training without caches.
    """
    for memory, batch, saving, optimizer in (
        (24, 1, True, "adamw8bit"), (24, 2, True, "adamw8bit"), (24, 1, True, "adamw"), (80, 8, False, "adamw"),
    ):  # fmt: skip
        what = {
            "card_gb": memory,
            "batch": batch,
            "checkpointing": saving,
            "ema_on_cpu": saving,
            "optimizer": optimizer,
        }
        if optimizer == "adamw8bit" and find_spec("bitsandbytes") is None:
            yield {**what, "skipped": "the extra optim8bit is not installed"}
        else:
            yield attempt(what, partial(_card, bench, memory, batch, saving, optimizer))


def _card(bench: Bench, memory: int, batch: int, saving: bool, optimizer: str) -> Result:
    model = Model(bench, bench.presets()[-1], bench.sizes()[-1])
    encode = _frozen(model, batch)
    train = _training_step(model, batch, saving, ema_on_cpu=saving, optimizer=optimizer)

    def step() -> None:
        encode()
        train()

    step()
    peak = peak_gibibytes(bench, step)
    return {"peak_gib": peak, "fits": None if peak is None else peak * 2**30 < 0.95 * memory * 1e9}


def _frozen(model: Model, batch: int) -> Callable[[], None]:
    """What VAE and image encoder do in a step: all views, and a picture a canvas. Nothing is computed from the outcome,
    so their weights are whatever the memory holds.
    """
    bench = model.bench
    networks = build_empty(find_preset("mini" if bench.small else bench.presets()[-1]))
    vae, encoder = (networks[name].float().to_empty(device=bench.device).eval() for name in ("vae", "image_encoder"))
    views = torch.zeros(batch * GRID.num_views, 3, *padded_view(model.unet, *model.size), device=bench.device)
    shown = torch.zeros(batch, 3, 224, 224, device=bench.device)

    @torch.no_grad()
    def encode() -> None:
        with torch.autocast(bench.device.type, torch.bfloat16):
            vae.encode(views)
            encoder(shown)

    return encode


SECTIONS = {section.__name__: section for section in (parity, attention, cards, sampling, training)}


def run_sections(bench: Bench, only: str) -> Iterator[Result]:
    """The results of all sections; one that fails, or that the time does not allow, is a result too.

    Each section has an equal share of the time that is left when it begins.
    """
    names = [name for name in SECTIONS if only in name]
    for number, name in enumerate(names):
        begun = time.monotonic()
        until = begun + (bench.deadline - begun) / (len(names) - number)
        results = SECTIONS[name](bench)
        while True:
            if time.monotonic() > until:
                yield {"section": name, "skipped": "the time is up"}
                break
            try:
                result = next(results)
            except StopIteration:
                break
            except Exception as error:
                yield {"section": name, "failed": one_line(error)}
                break
            yield {"section": name, "after_seconds": round(time.monotonic() - begun, 1), **result}
        torch._dynamo.reset()
        if bench.on_gpu:
            torch.cuda.empty_cache()


def main() -> None:
    """Write results as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="no new measurement begins after these")
    parser.add_argument("--out", type=Path, help="file of JSON lines; what it holds stays")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", default=choose_device())
    parser.add_argument("--only", default="", help="sections whose name contains this")
    given = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False  # else convolutions in fp32, the truth of parity, have fp16's mantissa
    bench = Bench(torch.device(given.device), given.small, time.monotonic() + 60 * given.minutes)
    machine = torch.cuda.get_device_name() if bench.on_gpu else f"CPU, {torch.get_num_threads()} thread(s)"
    with nullcontext() if given.out is None else given.out.open("a", encoding="utf-8") as file:
        for result in chain([{"machine": machine, "torch": torch.__version__}], run_sections(bench, given.only)):
            line = json.dumps(result)
            print(line, flush=True)
            if file is not None:
                file.write(line + "\n")
                file.flush()


if __name__ == "__main__":
    main()
