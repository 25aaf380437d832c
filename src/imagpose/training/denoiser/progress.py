"""The denoiser's curve: what it makes of held-out people by T1, as a picture and by the measures that a blur fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imagpose.metrics.pictures import measure_pictures
from imagpose.models.latents import decode_latents
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pixels import Padding, bytes_to_signed, signed_to_bytes
from imagpose.pose import draw_skeleton
from imagpose.training.denoiser.cache import encode_views
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.data import CanvasData
from imagpose.training.denoiser.preview import generate, titled
from imagpose.training.stage import ProgressReport

PEOPLE = 40
STEPS = 10
_ROWS = 12
_SOURCE, _TARGET = 0, 1


def progress_report(
    pipeline: IMAGPosePipeline, data: CanvasData, config: DenoiserConfig, known: dict[str, float]
) -> ProgressReport:
    """View 1 of the first people from view 0 by T1, with fixed noise.

    Args:
        pipeline: with the weights to judge.
        data: held-out people; 40 of them are measured, or all.
        config: canvases at once, guidance.
        known: measures that the row begins with.

    Returns:
        Rows of source, skeleton, output and truth of 12 people; `known`, then the means of `measure_pictures` over the
        people whose mask is known and marks something, if there are any.
    """
    people = range(min(PEOPLE, len(data.view_counts)))
    outputs = [
        pictures[0]
        for pictures in generate(pipeline, data, config, people, "T1", replace(config.sampling, steps=STEPS), targets=1)
    ]
    sources = [np.asarray(data.view(person, _SOURCE)[0]) for person in people]
    truths = [np.asarray(data.view(person, _TARGET)[0]) for person in people]
    measures = known | _measures(pipeline, data, config, outputs, sources, truths)
    rows = [
        np.concatenate([sources[person], _skeleton(data, person), outputs[person], truths[person]], axis=1)
        for person in people[:_ROWS]
    ]
    title = ", ".join(f"{name} {value:.4g}" for name, value in known.items())
    return ProgressReport(titled(np.concatenate(rows), title), measures)


def _skeleton(data: CanvasData, person: int) -> np.ndarray:
    return np.asarray(draw_skeleton(data.view(person, _TARGET)[1]))


def _measures(
    pipeline: IMAGPosePipeline,
    data: CanvasData,
    config: DenoiserConfig,
    outputs: list[np.ndarray],
    sources: list[np.ndarray],
    truths: list[np.ndarray],
) -> dict[str, float]:
    masks = [data.foreground(person, _TARGET) for person in range(len(outputs))]
    marked = [person for person, mask in enumerate(masks) if mask is not None and mask.any()]
    if not marked:
        return {}
    parts = [data.parts(person, _TARGET) for person in marked]
    true = [truths[person] for person in marked]
    return measure_pictures(
        [outputs[person] for person in marked],
        true,
        [mask for mask in masks if mask is not None and mask.any()],
        None if any(own is None for own in parts) else [own for own in parts if own is not None],
        [sources[person] for person in marked],
        _reconstructed(pipeline, true, config.batch_size),
    )


def _reconstructed(pipeline: IMAGPosePipeline, pictures: list[np.ndarray], at_once: int) -> list[np.ndarray]:
    """Pictures uint8 (H, W, 3) through the autoencoder alone."""
    made: list[np.ndarray] = []
    for chunk in bytes_to_signed(np.stack(pictures)).split(at_once):
        latents = encode_views(pipeline, chunk.to(pipeline.vae.device))
        decoded = decode_latents(pipeline.vae, latents)
        padding = Padding.to_multiple(chunk.shape[-2], chunk.shape[-1], pipeline.view_multiple)
        made += list(signed_to_bytes(padding.crop(decoded)).cpu().numpy())
    return made
