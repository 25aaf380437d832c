"""A pipeline as commands need it: on the device, in the precision and with the scheduler asked for, quick on the CPU.

The libraries are imported when it is called, so that commands refuse bad input without them.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imagpose.devices import choose_device, multiplies_bf16
from imagpose.io import read_json
from imagpose.models.folder import resolve_model
from imagpose.pipeline.sampling import Sampling
from imagpose.workers import usable_cores

if TYPE_CHECKING:
    from torch import nn

    from imagpose.pipeline.pipeline import IMAGPosePipeline

BACKENDS = ("auto", "torch", "compile", "openvino")
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def load_pipeline(
    model: str,
    scheduler: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    backend: str = "auto",
    *,
    move: bool = True,
) -> IMAGPosePipeline:
    """The pipeline of a name, folder or Hub id, without the libraries' progress bars.

    Args:
        model: see `IMAGPosePipeline.from_pretrained`, and its errors.
        scheduler: as `Sampling.scheduler`.
        device: see `devices.choose_device`; None: the GPU where there is one.
        dtype: one of `DTYPES`, for all networks; None: fp32, but bf16 for the UNet on CPUs that multiply it. Pictures
            differ by less than their rounding then, while bf16 throughout changes them visibly (`docs/speed.md`).
        backend: one of `BACKENDS`.
        move: False leaves the networks where they were read, for a program that moves them to `device` itself.

    Raises:
        ValueError: also as `check_dtype` and `check_backend`.
    """
    check_backend(backend, device)
    check_dtype(dtype, device)
    with _nothing_collected():
        import diffusers
        import torch
        import transformers

        from imagpose.models.onednn import route_by_onednn
        from imagpose.models.scheduler import named_scheduler
        from imagpose.pipeline.backends import Backend
        from imagpose.pipeline.pipeline import IMAGPosePipeline

        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        pipeline = IMAGPosePipeline.from_pretrained(model, dtype=getattr(torch, DTYPES[dtype or "fp32"]))
    if scheduler is not None:
        pipeline.scheduler = named_scheduler(scheduler, pipeline.scheduler)
    place = choose_device(device)
    placed: IMAGPosePipeline = pipeline.to(place) if move else pipeline
    if place == "cpu":
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
        for network in networks_of(placed).values():
            route_by_onednn(network)
    if dtype is None and multiplies_bf16(place):
        placed.unet.to(torch.bfloat16)
    placed.backend = Backend(backend)
    return placed


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Without the garbage collector, which would look through half a million new objects that are all in use."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # what a caller has frozen stays so
                gc.freeze()
                gc.unfreeze()  # together: what is new counts as old, and is not looked through at once
            gc.enable()


def networks_of(pipeline: IMAGPosePipeline) -> dict[str, nn.Module]:
    """The networks among a pipeline's components, by name."""
    from torch import nn

    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def precision_of(pipeline: IMAGPosePipeline) -> str:
    """What a pipeline computes in: "float32", or "bfloat16 (unet), float32" where its networks differ."""
    kinds = {name: str(network.dtype).removeprefix("torch.") for name, network in networks_of(pipeline).items()}
    unet = kinds.pop("unet")
    others = sorted(set(kinds.values()) - {unet})
    return ", ".join([f"{unet} (unet)", *others]) if others else unet


def check_backend(name: str, device: str | None) -> None:
    """Look at a backend before any weights are read.

    Raises:
        ValueError: no such backend, or one for another device.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r}: one of {', '.join(BACKENDS)} expected")
    if name == "openvino" and (place := device or choose_device()) != "cpu":  # a name needs no look at the machine
        raise ValueError(f"backend openvino is for the CPU, not for {place}: auto, torch or compile expected")


def check_dtype(dtype: str | None, device: str | None) -> None:
    """Look at a precision before any weights are read.

    Raises:
        ValueError: no such device or precision, or a precision in which the device does not compute.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r}: one of {', '.join(DTYPES)} expected")
    place = None if device is None and dtype != "fp16" else choose_device(device)  # asked only then: it imports torch
    if dtype == "fp16" and place == "cpu":
        raise ValueError("dtype fp16 is for GPUs; bf16 or fp32 expected on the CPU")


def settled_sampling(sampling: Sampling, model: str | IMAGPosePipeline) -> Sampling:
    """Settings with the model's own steps and guidance where none are given; its weights are not read.

    Args:
        sampling: as asked for.
        model: see `IMAGPosePipeline.from_pretrained`, or the pipeline.

    Raises:
        ValueError, OSError: there is no such model.
    """
    if sampling.steps is not None and sampling.guidance_scale is not None:
        return sampling
    if not isinstance(model, (str, Path)):
        return sampling.settled(model.config)
    place = resolve_model(model)
    if Path(place).is_dir():
        return sampling.settled(read_json(Path(place) / "model_index.json"))
    from imagpose.pipeline.pipeline import IMAGPosePipeline

    return sampling.settled(IMAGPosePipeline.load_config(place))
