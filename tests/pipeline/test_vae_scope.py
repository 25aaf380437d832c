"""The VAE on single views or on whole canvases (the released code's way)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.requests import read_requests
from imagpose.pixels import pictures_to_signed
from imagpose.views import ViewGrid

HEIGHT, WIDTH = 32, 16


@pytest.fixture
def joint(pipeline: IMAGPosePipeline) -> IMAGPosePipeline:
    pipeline.register_to_config(vae_scope="joint")
    return pipeline


def test_joint_latents_are_those_of_the_canvas_laid_by_hand(joint: IMAGPosePipeline, picture, pose) -> None:
    sources = [picture(1), picture(2)]
    requests, _ = read_requests(sources, [pose(0), pose(1)], None, ViewGrid(2, 2), None, HEIGHT, WIDTH)
    with torch.no_grad():
        conditions = joint._condition_encoder()([(requests[0], canvas) for canvas in requests[0].plan.canvases])
        one, other = pictures_to_signed(sources)
        dark = torch.full((3, HEIGHT, WIDTH), -1.0)
        by_role = [one, other, dark, dark]
        canvas = torch.cat([torch.cat(by_role[:2], dim=2), torch.cat(by_role[2:], dim=2)], dim=1)
        black = torch.full((3, 2 * HEIGHT, 2 * WIDTH), -1.0)
        encoded = [joint.vae.encode(part[None]).latent_dist.mode()[0] * 4.0 for part in (canvas, black)]
    h = HEIGHT // 8
    for image, expected, visible in ((conditions.image, encoded[0], 1.0), (conditions.null_image, encoded[1], 0.0)):
        torch.testing.assert_close(image[0, :4], expected, atol=1e-5, rtol=1e-4)
        assert (image[0, 4, :h] == visible).all() and not image[0, 4, h:].any()


def test_joint_pictures_are_cut_from_the_decoded_canvas(joint: IMAGPosePipeline, picture, pose, seeded) -> None:
    call = {
        "sources": [picture(1)], "target_poses": [pose(0), pose(1), pose(2)], "scenario": "star",
        "num_inference_steps": 2, "return_canvases": True,
    }  # fmt: skip
    latent = joint(**call, generator=seeded(3), output_type="latent")
    output = joint(**call, generator=seeded(3), output_type="np")
    with torch.no_grad():
        canvas = joint.vae.decode(latent.canvases[0][None] / 4.0).sample[0]
    drawn = (canvas / 2 + 0.5).clamp(0, 1).movedim(0, -1).numpy()
    np.testing.assert_allclose(output.canvases[0], drawn, atol=1e-4)
    np.testing.assert_allclose(output.images[0], drawn[:HEIGHT, WIDTH:], atol=1e-4)
    np.testing.assert_allclose(output.images[2], drawn[HEIGHT:, WIDTH:], atol=1e-4)


def test_the_scope_is_saved_with_the_model(joint: IMAGPosePipeline, tmp_path: Path) -> None:
    joint.save_pretrained(tmp_path)
    assert IMAGPosePipeline.from_pretrained(tmp_path).config.vae_scope == "joint"


def test_an_unknown_scope_is_refused(pipeline: IMAGPosePipeline) -> None:
    with pytest.raises(ValueError, match="vae_scope 'canvas': one of view, joint"):
        IMAGPosePipeline(**pipeline.components, vae_scope="canvas")


def test_what_masked_slots_show_is_checked(pipeline: IMAGPosePipeline) -> None:
    with pytest.raises(ValueError, match="masked_views 'white': one of black, warped"):
        IMAGPosePipeline(**pipeline.components, masked_views="white")
    with pytest.raises(ValueError, match="masked_views warped needs vae_scope view"):
        IMAGPosePipeline(**pipeline.components, masked_views="warped", vae_scope="joint")
