"""What the denoiser draws for held-out people, seen through the pipeline that users call."""

from __future__ import annotations

import numpy as np
import torch

from imagpose.pictures import to_pictures
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pose import Pose, draw_skeleton
from imagpose.training.cache import ViewCache
from imagpose.training.config import DenoiserConfig
from imagpose.training.losses import psnr_and_ssim

_TARGETS = (1, 2, 3)


def _generate(pipeline: IMAGPosePipeline, cache: ViewCache, config: DenoiserConfig, people: int) -> torch.Tensor:
    """Views 1 to 3 of the first people from view 0 on 2 x 2 canvases, uint8 (people, 3, H, W, 3)."""
    identities = np.arange(people)
    sources = to_pictures(cache.pixels(identities, np.zeros_like(identities)))
    poses = [[_pose(cache, identity, view) for view in _TARGETS] for identity in range(people)]
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        sources=[[source] for source in sources],
        target_poses=poses,
        scenario="star",
        height=cache.config.height,
        width=cache.config.width,
        num_inference_steps=config.sample_steps,
        guidance_scale=config.guidance_scale,
        generator=[torch.Generator().manual_seed(int(identity)) for identity in identities],
        return_dict=False,
    )[0]
    rows = [np.stack([np.asarray(picture) for picture in pictures]) for pictures in images]
    return torch.from_numpy(np.stack(rows))


def _pose(cache: ViewCache, identity: int, view: int) -> Pose:
    points = cache.get("keypoints", np.array([identity]), np.array([view]))[0].numpy()
    return Pose(points, cache.config.width, cache.config.height)


def _truth(cache: ViewCache, people: int) -> torch.Tensor:
    pairs = np.repeat(np.arange(people), len(_TARGETS)), np.tile(_TARGETS, people)
    return cache.get("pictures", *pairs).unflatten(0, (people, len(_TARGETS)))


def held_out_psnr(
    pipeline: IMAGPosePipeline, cache: ViewCache, config: DenoiserConfig, people: int
) -> dict[str, float]:
    """``psnr`` of generated targets over whole pictures, and ``psnr_of_copy`` of the source in their place."""
    people = min(people, cache.num_identities)
    truth = _truth(cache, people).flatten(0, 1)
    generated = _generate(pipeline, cache, config, people).flatten(0, 1)
    identities = np.repeat(np.arange(people), len(_TARGETS))
    copied = cache.get("pictures", identities, np.zeros_like(identities))
    return {"psnr": psnr_and_ssim(generated, truth)[0], "psnr_of_copy": psnr_and_ssim(copied, truth)[0]}


def sample_rows(pipeline: IMAGPosePipeline, cache: ViewCache, config: DenoiserConfig, people: int) -> np.ndarray:
    """One row per person: source, then skeleton, output and truth of each target; uint8 (people * H, 10 * W, 3)."""
    people = min(people, cache.num_identities)
    generated, truth = _generate(pipeline, cache, config, people), _truth(cache, people)
    rows = []
    for identity in range(people):
        row = [cache.get("pictures", np.array([identity]), np.array([0]))[0].numpy()]
        for index, view in enumerate(_TARGETS):
            skeleton = draw_skeleton(_pose(cache, identity, view))
            row += [np.asarray(skeleton), generated[identity, index].numpy(), truth[identity, index].numpy()]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)
