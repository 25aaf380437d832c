"""What the denoiser draws for held-out people, seen through the pipeline that users call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from imagpose.pipeline import IMAGPosePipeline
from imagpose.pose import draw_skeleton
from imagpose.training.canvas_data import CanvasData
from imagpose.training.denoiser_config import DenoiserConfig
from imagpose.training.losses import psnr_and_ssim

_TARGETS = 3


def target_views(data: CanvasData, identity: int) -> list[int]:
    """Views 1, 2 and 3 of an identity; one that has fewer repeats them. View 0 is the source."""
    return [1 + target % (int(data.view_counts[identity]) - 1) for target in range(_TARGETS)]


def _generate(pipeline: IMAGPosePipeline, data: CanvasData, config: DenoiserConfig, people: int) -> torch.Tensor:
    """Three views of the first people from view 0 on 2 x 2 canvases, uint8 (people, 3, H, W, 3)."""
    pipeline.set_progress_bar_config(disable=True)
    images = []
    for start in range(0, people, config.batch_size):
        chosen = range(start, min(start + config.batch_size, people))
        images += pipeline(
            sources=[[data.view(identity, 0)[0]] for identity in chosen],
            target_poses=[
                [data.view(identity, view)[1] for view in target_views(data, identity)] for identity in chosen
            ],
            scenario="star",
            height=data.height,
            width=data.width,
            num_inference_steps=config.sample_steps,
            guidance_scale=config.guidance_scale,
            generator=[torch.Generator().manual_seed(identity) for identity in chosen],
            return_dict=False,
        )[0]
    return torch.stack([_bytes(pictures) for pictures in images])


def _truth(data: CanvasData, people: int) -> torch.Tensor:
    """Uint8 (people, 3, H, W, 3)."""
    return torch.stack(
        [_bytes([data.view(identity, view)[0] for view in target_views(data, identity)]) for identity in range(people)]
    )


def _bytes(pictures: Sequence[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))


def held_out_psnr(
    pipeline: IMAGPosePipeline, data: CanvasData, config: DenoiserConfig, people: int
) -> dict[str, float]:
    """``psnr`` of generated targets over whole pictures, and ``psnr_of_copy`` of the source in their place."""
    people = min(people, len(data.view_counts))
    truth = _truth(data, people).flatten(0, 1)
    generated = _generate(pipeline, data, config, people).flatten(0, 1)
    copied = _bytes([data.view(identity, 0)[0] for identity in range(people) for _ in range(_TARGETS)])
    return {"psnr": psnr_and_ssim(generated, truth)[0], "psnr_of_copy": psnr_and_ssim(copied, truth)[0]}


def sample_rows(pipeline: IMAGPosePipeline, data: CanvasData, config: DenoiserConfig, people: int) -> np.ndarray:
    """One row per person: source, then skeleton, output and truth of each target; uint8 (people * H, 10 * W, 3)."""
    people = min(people, len(data.view_counts))
    generated, truth = _generate(pipeline, data, config, people).numpy(), _truth(data, people).numpy()
    rows = []
    for identity in range(people):
        row = [np.asarray(data.view(identity, 0)[0])]
        for target, view in enumerate(target_views(data, identity)):
            skeleton = np.asarray(draw_skeleton(data.view(identity, view)[1]))
            row += [skeleton, generated[identity, target], truth[identity, target]]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)
