"""What the denoiser draws for held-out people, seen through the pipeline that users call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from imagpose.metrics.pixels import psnr
from imagpose.models.latents import decode_latents
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.sampling import Sampling
from imagpose.pixels import Padding, signed_to_bytes
from imagpose.pose import draw_skeleton
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.data import CanvasData
from imagpose.training.denoiser.draw import CanvasDraw
from imagpose.views import ViewGrid

_TARGETS = 3
_TITLE_HEIGHT = 24


def target_views(data: CanvasData, identity: int) -> list[int]:
    """Views 1, 2 and 3 of an identity; one that has fewer repeats them. View 0 is the source."""
    return [1 + target % (int(data.view_counts[identity]) - 1) for target in range(_TARGETS)]


def generate(
    pipeline: IMAGPosePipeline,
    data: CanvasData,
    config: DenoiserConfig,
    people: Sequence[int],
    scenario: str,
    sampling: Sampling,
    targets: int = _TARGETS,
) -> np.ndarray:
    """The first `targets` of `target_views` of people from view 0, with fixed noise; uint8 (people, targets, H, W, 3)."""
    pipeline.set_progress_bar_config(disable=True)
    images = []
    for start in range(0, len(people), config.batch_size):
        chosen = people[start : start + config.batch_size]
        shown = [target_views(data, identity)[:targets] for identity in chosen]
        images += pipeline(
            sources=[[data.view(identity, 0)[0]] for identity in chosen],
            target_poses=[
                [data.view(identity, view)[1] for view in views] for identity, views in zip(chosen, shown, strict=True)
            ],
            scenario=scenario,
            height=data.height,
            width=data.width,
            **sampling.arguments(),
            generator=[torch.Generator().manual_seed(sampling.seed + identity) for identity in chosen],
            return_dict=False,
        )[0]
    return np.stack([_bytes(pictures) for pictures in images])


def _truth(data: CanvasData, people: int) -> np.ndarray:
    """Uint8 (people, 3, H, W, 3)."""
    return np.stack(
        [_bytes([data.view(identity, view)[0] for view in target_views(data, identity)]) for identity in range(people)]
    )


def _bytes(pictures: Sequence[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in pictures])


def held_out_psnr(
    pipeline: IMAGPosePipeline, data: CanvasData, config: DenoiserConfig, people: int
) -> dict[str, float]:
    """``psnr`` of generated targets over whole pictures, and ``psnr_of_copy`` of the source in their place."""
    people = min(people, len(data.view_counts))
    truth = np.concatenate(_truth(data, people))
    generated = np.concatenate(generate(pipeline, data, config, range(people), "star", config.sampling))
    copied = _bytes([data.view(identity, 0)[0] for identity in range(people) for _ in range(_TARGETS)])
    return {
        name: float(np.mean([psnr(*pair) for pair in zip(pictures, truth, strict=True)]))
        for name, pictures in (("psnr", generated), ("psnr_of_copy", copied))
    }


def known_psnr(
    pipeline: IMAGPosePipeline,
    data: CanvasData,
    config: DenoiserConfig,
    people: int,
    predict: Callable[[CanvasDraw], torch.Tensor],
) -> dict[str, float]:
    """What is known before any sampling: the PSNR in the person's mask of one prediction from pure noise.

    From pure noise the prediction is the conditional mean; what it does not know, sampling draws at random.

    Args:
        pipeline: decodes.
        data: of whom the first with four views or more are shown, with fixed noise.
        config: canvases at once.
        people: how many.
        predict: clean latents (b, v, c, h, w) of the canvases of a draw.

    Returns:
        ``known_psnr`` of three views from one source, ``known_psnr_three`` of one from three sources, and
        ``known_psnr_of_copy`` of the source in the place of the three; nothing where nobody has four views.
    """
    chosen = np.flatnonzero(data.view_counts > _TARGETS)[:people]
    measures = {}
    for name, sources in (("known_psnr", 1), ("known_psnr_three", _TARGETS)):
        values: list[float] = []
        for start in range(0, len(chosen), config.batch_size):
            draw = _fixed_draw(pipeline, chosen[start : start + config.batch_size], sources)
            latents = predict(draw)[:, sources:].flatten(0, 1)
            padding = Padding.to_multiple(data.height, data.width, pipeline.view_multiple)
            pictures = signed_to_bytes(padding.crop(decode_latents(pipeline.vae, latents))).cpu().numpy()
            targets = [(identity, view) for identity in draw.identities for view in range(sources, 1 + _TARGETS)]
            values += [_psnr_in_mask(data, *target, picture) for target, picture in zip(targets, pictures, strict=True)]
        measures[name] = values
    measures["known_psnr_of_copy"] = [
        _psnr_in_mask(data, identity, view, np.asarray(data.view(identity, 0)[0]))
        for identity in chosen
        for view in range(1, 1 + _TARGETS)
    ]
    return {name: float(np.mean(values)) for name, values in measures.items() if values}


def _fixed_draw(pipeline: IMAGPosePipeline, identities: np.ndarray, sources: int) -> CanvasDraw:
    """Views 0 to 3 of identities on 2 x 2 canvases, the first ones as sources, at the last timestep."""
    count = len(identities)
    mask = (torch.arange(1 + _TARGETS) < sources).float().expand(count, -1)
    kept, last = torch.ones(count), len(pipeline.scheduler.alphas_cumprod) - 1
    return CanvasDraw(
        grid=ViewGrid(2, 2),
        half=False,
        samples=[(0, 0, int(identity)) for identity in identities],
        identities=identities,
        views=np.tile(np.arange(1 + _TARGETS), (count, 1)),
        mask=mask,
        feature_views=np.zeros(count, dtype=np.int64),
        keep_image_tokens=kept,
        keep_texture=kept,
        keep_source_poses=kept,
        timesteps=torch.full((count,), last),
    )


def _psnr_in_mask(data: CanvasData, identity: int, view: int, picture: np.ndarray) -> float:
    """PSNR (dB) of a picture (H, W, 3), 0 to 255, in the person's mask of a view; in all of it where that is not known."""
    mask = data.foreground(identity, view)
    truth = np.asarray(data.view(identity, view)[0])
    return psnr(picture, truth) if mask is None or not mask.any() else psnr(picture, truth, mask)


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """A picture uint8 (H, W, 3) with a line of text above it."""
    band = Image.new("RGB", (picture.shape[1], _TITLE_HEIGHT))
    ImageDraw.Draw(band).text((4, 4), title, fill=(255, 255, 255))
    return np.concatenate([np.asarray(band), picture])


def sample_rows(pipeline: IMAGPosePipeline, data: CanvasData, config: DenoiserConfig, people: int) -> np.ndarray:
    """One row per person: source, then skeleton, output and truth of each target; uint8 (people * H, 10 * W, 3)."""
    people = min(people, len(data.view_counts))
    generated = generate(pipeline, data, config, range(people), "star", config.sampling)
    truth = _truth(data, people)
    rows = []
    for identity in range(people):
        row = [np.asarray(data.view(identity, 0)[0])]
        for target, view in enumerate(target_views(data, identity)):
            skeleton = np.asarray(draw_skeleton(data.view(identity, view)[1]))
            row += [skeleton, generated[identity, target], truth[identity, target]]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)
