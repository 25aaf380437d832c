"""A pipeline of tiny random networks, whose folder loads in a fraction of a second."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.scheduler import build_scheduler
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import IMAGPosePipeline

HEIGHT, WIDTH = 32, 16


def tiny_pipeline() -> IMAGPosePipeline:
    """Views of 32x16, a UNet of two levels; the same weights every time."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2,
    )  # fmt: skip
    encoder = Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=HEIGHT, patch_size=8)
    processor = BitImageProcessorPil(
        size={"height": HEIGHT, "width": WIDTH}, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.25] * 3
    )
    unet = IMAGPoseUNet(
        in_channels=9, block_out_channels=(8, 16), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), layers_per_block=1, norm_num_groups=4, attention_head_dim=2,
        cross_attention_dim=16, cross_view_placement="cross_attention",
    )  # fmt: skip
    return IMAGPosePipeline(
        vae=vae, image_encoder=Dinov2Model(encoder), image_processor=processor,
        feature_tokens=FeatureTokens(token_width=16, encoder_width=24, texture_long_side=128),
        pose_encoder=PoseEncoder(out_channels=8, block_channels=(4, 4, 8, 8)), unet=unet, scheduler=build_scheduler(),
        view_height=HEIGHT, view_width=WIDTH,
    )  # fmt: skip
