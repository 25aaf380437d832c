"""A pipeline of tiny random components: views of 32 x 16 pixels, UNet of two levels, no weight is zero."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.scheduler import build_scheduler
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pose import Pose

HEIGHT, WIDTH = 32, 16


def _build_pipeline() -> IMAGPosePipeline:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        scaling_factor=4.0,  # an untrained encoder's latents are small
    )
    encoder = Dinov2Model(
        Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=HEIGHT, patch_size=8)
    )
    processor = BitImageProcessorPil(
        size={"height": HEIGHT, "width": WIDTH},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.25, 0.25, 0.25],
    )
    unet = IMAGPoseUNet(
        in_channels=9,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=16,
        cross_view_placement="cross_attention",
    )
    pipeline = IMAGPosePipeline(
        vae=vae,
        image_encoder=encoder,
        image_processor=processor,
        feature_tokens=FeatureTokens(token_width=16, encoder_width=24, texture_long_side=128),
        pose_encoder=PoseEncoder(out_channels=8, block_channels=(4, 4, 8, 8)),
        unet=unet,
        scheduler=build_scheduler(),
        view_height=HEIGHT,
        view_width=WIDTH,
    )
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
            for weight in component.parameters():
                if not weight.any():  # zero-initialised outputs would hide what stands before them
                    torch.nn.init.normal_(weight, std=0.3)
    for weight in pipeline.pose_encoder.parameters():  # at their default size skeletons would hardly count
        torch.nn.init.normal_(weight, std=0.5)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def build_pipeline() -> Callable[[], IMAGPosePipeline]:
    """Builds the tiny pipeline; its weights are the same every time."""
    return _build_pipeline


@pytest.fixture
def pipeline() -> IMAGPosePipeline:
    return _build_pipeline()


@pytest.fixture
def picture() -> Callable[[int], Image.Image]:
    """A function from a seed to an RGB picture of coarse random colours, in the tiny model's view size."""

    def make(seed: int) -> Image.Image:
        blocks = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), dtype=np.uint8)
        return Image.fromarray(blocks.repeat(4, axis=0).repeat(4, axis=1))

    return make


@pytest.fixture
def pose() -> Callable[[int], Pose]:
    """A function from a seed to a pose in a frame of the tiny model's view size."""

    def make(seed: int) -> Pose:
        rng = np.random.default_rng(1000 + seed)
        points = np.concatenate([rng.uniform(1, (WIDTH - 1, HEIGHT - 1), (18, 2)), np.ones((18, 1))], axis=1)
        return Pose(points.astype(np.float32), WIDTH, HEIGHT)

    return make


@pytest.fixture
def seeded() -> Callable[[int], torch.Generator]:
    return lambda seed: torch.Generator().manual_seed(seed)
