"""Sampling that starts from the views that F_I shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imagpose.models.scheduler import SCHEDULERS, build_scheduler, named_scheduler
from imagpose.pipeline import IMAGPosePipeline
from imagpose.views import ViewGrid

HEIGHT, WIDTH = 32, 16


def starting(pipeline: IMAGPosePipeline, start_from: str = "image_condition") -> IMAGPosePipeline:
    again = IMAGPosePipeline(**pipeline.components, view_height=HEIGHT, view_width=WIDTH, start_from=start_from)
    again.set_progress_bar_config(disable=True)
    return again


def first_input(pipeline: IMAGPosePipeline, call: dict, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the UNet is shown first, and the latents at the end, of one canvas that starts with some noise."""
    seen: list[torch.Tensor] = []
    handle = pipeline.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    try:
        ended = pipeline(**call, latents=noise, output_type="latent", return_canvases=True).canvases[0]
    finally:
        handle.remove()
    return seen[0], ended


@pytest.fixture
def call(picture, pose) -> dict:
    return {
        "sources": [picture(1), picture(2)], "target_poses": [pose(0), pose(1)], "source_poses": [pose(2), pose(3)],
        "num_inference_steps": 3, "guidance_scale": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_sampler_starts_from_the_image_condition_with_noise(pipeline, call, seeded, name: str) -> None:
    """A y + S e of the last level, y being the UNet's channels of masked latents, which samplers of other units scale to."""
    pipeline.scheduler = named_scheduler(name, build_scheduler("v_prediction"))
    noise = torch.randn(pipeline.canvas_shape(ViewGrid(2, 2), HEIGHT, WIDTH), generator=seeded(4))
    shown, ended = first_input(starting(pipeline), call, noise)
    kept = float(build_scheduler().alphas_cumprod[-1])
    expected = kept**0.5 * shown[:1, 4:8] + (1 - kept) ** 0.5 * noise
    torch.testing.assert_close(shown[:1, :4], expected, rtol=1e-3, atol=1e-3)
    assert (kept**0.5 * shown[:1, 4:8]).abs().max() > 0.01  # which would be seen to be missing
    assert ended.isfinite().all()
    from_noise, _ = first_input(starting(pipeline, "noise"), call, noise)
    assert (from_noise[:1, :4] - expected).abs().max() > 5e-3


def test_what_cannot_start_so_is_refused_in_one_line(pipeline) -> None:
    with pytest.raises(ValueError, match="start_from 'views': one of noise, image_condition expected"):
        starting(pipeline, "views")
    narrow = type(pipeline.unet).from_config(pipeline.unet.config, in_channels=5)
    with pytest.raises(ValueError, match="needs a UNet that sees masked latents"):
        IMAGPosePipeline(**pipeline.components | {"unet": narrow}, start_from="image_condition")
    pipeline.scheduler = build_scheduler("v_prediction", zero_terminal_snr=True)
    with pytest.raises(ValueError, match="needs a schedule without zero_terminal_snr"):
        starting(pipeline)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_of_pure_noise_that_is_put_in_later_is_refused_too(pipeline, call, name: str) -> None:
    own = starting(pipeline)
    own.scheduler = named_scheduler(name, build_scheduler("v_prediction", zero_terminal_snr=True))
    with pytest.raises(ValueError, match="needs a schedule without zero_terminal_snr"):
        own(**call)


def test_a_folder_keeps_where_its_model_starts(pipeline, call, seeded, tmp_path: Path) -> None:
    pipeline.scheduler = build_scheduler("v_prediction", betas=(0.0005, 0.004))
    own = starting(pipeline)
    own.save_pretrained(tmp_path)
    again = IMAGPosePipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert again.config.start_from == "image_condition"
    assert (again.scheduler.config.beta_start, again.scheduler.config.beta_end) == (0.0005, 0.004)
    noise = torch.randn(own.canvas_shape(ViewGrid(2, 2), HEIGHT, WIDTH), generator=seeded(4))
    torch.testing.assert_close(first_input(again, call, noise), first_input(own, call, noise))
