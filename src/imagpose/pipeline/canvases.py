"""The canvases of a call, one after the other: which noise each starts from, which of its views come back, in which form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from imagpose.models.folder import model_name
from imagpose.pipeline.requests import Request
from imagpose.pixel_marks import NO_MARK, mark_pixels
from imagpose.provenance import Origin, Signature, check_format, save_generated
from imagpose.views import Canvas

Generators = torch.Generator | list[torch.Generator] | None


@dataclass(frozen=True, eq=False)
class CanvasJob:
    """A canvas to be drawn.

    Attributes:
        number: of the request in the batch.
        request: whose canvas it is.
        canvas: what stands in its slots.
        slots: those that are returned, in the order of their poses.
        noise: (1, c, rows*h, cols*w), float32.
        generator: where its noise is from.
    """

    number: int
    request: Request
    canvas: Canvas
    slots: list[int]
    noise: torch.Tensor
    generator: torch.Generator | None


def draw_jobs(
    requests: list[Request], generators: list[torch.Generator | None], shape: tuple[int, ...], device: torch.device
) -> Iterator[CanvasJob]:
    """All canvases: each request's choice among T1's candidates, then its noise, canvas by canvas, when its turn comes.

    The choice comes first, so that it stays the same where the noise is given by the user. Noise of one canvas does not
    depend on how many follow.
    """
    for number, (request, generator) in enumerate(zip(requests, generators, strict=True)):
        chosen = [_choose(candidates, generator) for candidates in request.plan.results]
        for place, canvas in enumerate(request.plan.canvases):
            slots = [slot for own, slot in chosen if own == place]
            noise = randn_tensor(shape, generator, device, torch.float32)
            yield CanvasJob(number, request, canvas, slots, noise, generator)


def check_latents(latents: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Raises `ValueError` if `latents` cannot stand in for noise of this shape."""
    if not isinstance(latents, torch.Tensor) or not latents.is_floating_point():
        kind = latents.dtype if isinstance(latents, torch.Tensor) else type(latents).__name__
        raise ValueError(f"latents must be a tensor of floating point numbers, got {kind}")
    if latents.shape != shape:
        raise ValueError(
            f"latents must have the shape {shape} (canvases, channels, rows*h, cols*w), got {tuple(latents.shape)}"
        )
    if not bool(torch.isfinite(latents).all()):
        raise ValueError("latents hold values that are not finite")


def join_pictures(parts: list[Any], output_type: str) -> Any:
    """The pictures of a request's canvases together."""
    if parts[0] is None:
        return None
    if output_type == "pil":
        return [picture for part in parts for picture in part]
    return np.concatenate(parts) if output_type == "np" else torch.cat(parts)


@dataclass
class IMAGPosePipelineOutput(BaseOutput):
    """Generated pictures of one request, or of a batch of requests.

    Args:
        images: one picture per target pose, in the order of the poses. By `output_type`: `"pil"` a list of T
            `PIL.Image`, `"np"` an array (T, H, W, 3) in [0, 1], `"pt"` a tensor (T, 3, H, W) in [0, 1], `"latent"`
            scaled latents (T, c, h, w) of the padded views. For a batch of requests: a list of these.
        canvases: with `return_canvases`, one joint canvas (all slots, sources too, as the model drew them) per canvas
            of the plan, in the same form: pictures of rows*H x cols*W pixels. `None` otherwise.
    """

    images: Any
    canvases: Any | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.origins: list[Origin] = []  # one per request; no field, since fields are what `to_tuple` returns

    def save(self, path: str | Path, signature: Signature | None = None, mark: str = NO_MARK) -> list[Path]:
        """Writes the pictures with marks that say that they were generated, and by what (see `provenance`).

        Args:
            path: of one picture; of several, `x.png` becomes `x-0.png`, `x-1.png`, ..., and in a batch of requests
                `x-0-0.png` with the request's number first. PNG, JPEG or WebP by the ending.
            signature: also sign them by C2PA.
            mark: one of `pixel_marks.PIXEL_MARKS`; `images` stay as they are.

        Returns:
            the files, in the order of the pictures.

        Raises:
            ValueError: another ending, pictures in another form than `output_type="pil"`, or as `save_generated` and
                `mark_pixels`.
        """
        path = Path(path)
        check_format(path)
        is_batch = isinstance(self.images, list) and all(isinstance(own, list) for own in self.images)
        requests = self.images if is_batch else [self.images]
        if not all(isinstance(picture, Image.Image) for pictures in requests for picture in pictures):
            raise ValueError("only pictures can be saved: call the pipeline with output_type='pil'")
        written = []
        for number, pictures in enumerate(requests):
            origin = self.origins[number] if self.origins else Origin("unknown")
            for index, picture in enumerate(pictures):
                place = f"-{number}-{index}" if is_batch else f"-{index}" if len(pictures) > 1 else ""
                written.append(path.with_name(f"{path.stem}{place}{path.suffix}"))
                save_generated(mark_pixels(picture, mark), written[-1], origin, signature)
        return written


def origins(model: str | None, generators: list[torch.Generator | None]) -> list[Origin]:
    """What made each request's pictures; a model that was never saved or loaded has no name."""
    name = model_name(model) if model else "unsaved"
    return [Origin(name, None if own is None else own.initial_seed()) for own in generators]


def per_request(generator: Generators, count: int) -> list[torch.Generator | None]:
    """One generator per request; a single one is shared, and drawn from in the order of the requests."""
    if isinstance(generator, (list, tuple)):
        if len(generator) != count:
            raise ValueError(f"generator is a list of {len(generator)} for {count} requests: give one for each")
        return list(generator)
    return [generator] * count


def _choose(candidates: tuple[tuple[int, int], ...], generator: torch.Generator | None) -> tuple[int, int]:
    """One candidate by the seed: comparing them with the truth, as published numbers may do, is not open to a user."""
    if len(candidates) == 1:
        return candidates[0]
    device = torch.device("cpu") if generator is None else generator.device
    return candidates[int(torch.randint(len(candidates), (1,), generator=generator, device=device))]
