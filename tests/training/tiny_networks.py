"""A tiny autoencoder, image encoder and UNet, and the values of a denoiser's run with them."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from fake_people import HEIGHT, WIDTH, values_of_run
from transformers import Dinov2Config, Dinov2Model

from imagpose.training.encoder import build_processor

UNET = {
    "block_out_channels": [8, 8, 16],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
    "norm_num_groups": 4,
    "cross_attention_dim": 8,
    "attention_head_dim": 2,
    "cross_view_heads": 2,
}


def save_frozen(folder: Path) -> None:
    """Write a tiny autoencoder and a tiny image encoder."""
    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        norm_num_groups=2,
        mid_block_add_attention=False,
        scaling_factor=0.5,
    ).save_pretrained(folder / "autoencoder")
    encoder = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, patch_size=16, image_size=64)
    Dinov2Model(encoder).save_pretrained(folder / "image_encoder")
    build_processor(HEIGHT, WIDTH).save_pretrained(folder / "image_encoder")


def denoiser_values(frozen: Path, folder: Path) -> dict:
    """YAML values of a run in `folder` with the networks in `frozen`."""
    return values_of_run(folder) | {
        "autoencoder": str(frozen / "autoencoder"),
        "image_encoder": str(frozen / "image_encoder"),
        "unet": UNET,
        "pose_channels": [16, 32, 48, 96],
        "texture_long_side": 128,
        "grids": {"2x2": 0.6, "1x2": 0.4},
        "sampling": {"steps": 2},
    }
