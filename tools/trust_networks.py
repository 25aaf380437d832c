"""Tiny random networks, whose folders load in a fraction of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.official import OFFICIAL_CROSS_VIEW
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.scheduler import build_scheduler
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.convert import to_official

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


def save_official(folder: Path) -> None:
    """A model of the published code's kind (`model`), its four files (`files`), and what it was fine-tuned from (`base`)."""
    torch.manual_seed(1)
    widths, tokens = (32, 32, 32, 32), 24
    cross_view: dict[str, Any] = {**OFFICIAL_CROSS_VIEW}
    pipeline = tiny_pipeline()
    pipeline.register_modules(
        unet=IMAGPoseUNet(in_channels=9, block_out_channels=widths, cross_attention_dim=tokens, **cross_view),
        pose_encoder=PoseEncoder(out_channels=widths[0]),
        feature_tokens=FeatureTokens(token_width=tokens, encoder_width=tokens),
    )
    pipeline.save_pretrained(folder / "model")
    to_official(folder / "model", folder / "files")
    unet = UNet2DConditionModel(block_out_channels=widths, cross_attention_dim=tokens)
    unet.save_config(folder / "base" / "unet")
    pipeline.vae.save_pretrained(folder / "base" / "vae")
    pipeline.image_encoder.save_pretrained(folder / "base" / "image_encoder")
