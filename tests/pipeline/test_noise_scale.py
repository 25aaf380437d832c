"""The spread of the noise that sampling starts from."""

from pathlib import Path

import pytest
import torch

from imagpose.pipeline import IMAGPosePipeline


def test_scaled_noise_is_the_drawn_noise_times_the_scale(pipeline: IMAGPosePipeline, picture, pose, seeded) -> None:
    call = {
        "sources": [picture(1)], "target_poses": [pose(0)], "scenario": "T2", "num_inference_steps": 2,
        "output_type": "latent", "return_canvases": True,
    }  # fmt: skip
    started: list[torch.Tensor] = []
    handle = pipeline.unet.register_forward_pre_hook(lambda _, inputs: started.append(inputs[0].clone()))
    try:
        pipeline(**call, generator=seeded(5))
        whole = started[0][:, :4]
        started.clear()
        pipeline.register_to_config(noise_scale=0.25)
        quiet = pipeline(**call, generator=seeded(5)).canvases[0]
        torch.testing.assert_close(started[0][:, :4], 0.25 * whole)
        given = pipeline(**call, generator=seeded(5), latents=0.25 * whole[:1]).canvases[0]
    finally:
        handle.remove()
    torch.testing.assert_close(given, quiet)


def test_the_scale_is_saved_with_the_model(pipeline: IMAGPosePipeline, tmp_path: Path) -> None:
    pipeline.register_to_config(noise_scale=0.5)
    pipeline.save_pretrained(tmp_path)
    assert IMAGPosePipeline.from_pretrained(tmp_path).config.noise_scale == 0.5


@pytest.mark.parametrize("scale", [-0.1, 1.5, "half", True, float("nan")])
def test_an_illegal_scale_is_refused(pipeline: IMAGPosePipeline, scale) -> None:
    with pytest.raises(ValueError, match="noise_scale is .*; a number from 0 to 1 expected"):
        IMAGPosePipeline(**pipeline.components, noise_scale=scale)
