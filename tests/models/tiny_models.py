"""Tiny random models in the layouts of the published repositories, written by diffusers and transformers themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
)

from imagpose.pose import Pose

CROSS_ATTENTION = {"1.5": 24, "2.1": 40}
CLIP_SIDE = 56


def save_base(folder: Path, version: str = "1.5", **options: Any) -> Path:
    """unet/, vae/ and scheduler/ of a Stable Diffusion of four levels."""
    torch.manual_seed(0)
    layout: dict[str, dict[str, Any]] = {
        "1.5": {"attention_head_dim": 8},
        "2.1": {"attention_head_dim": (2, 4, 8, 8), "use_linear_projection": True, "upcast_attention": True},
    }
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32, 64, 64), cross_attention_dim=CROSS_ATTENTION[version], **layout[version]
    )
    unet.save_pretrained(folder / "unet", **options)
    tiny_vae().save_pretrained(folder / "vae", **options)
    scheduler = PNDMScheduler() if version == "1.5" else DDIMScheduler(prediction_type="v_prediction")
    scheduler.save_pretrained(folder / "scheduler")
    return folder


def tiny_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=4,
    )


def save_dinov2(folder: Path, width: int) -> Path:
    torch.manual_seed(1)
    config = Dinov2Config(hidden_size=width, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    BitImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}, **imagenet).save_pretrained(
        folder
    )
    return folder


def save_clip(folder: Path, width: int) -> Path:
    """A whole CLIP, text tower included, as its repositories have it."""
    torch.manual_seed(2)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = {"hidden_size": 16, "vocab_size": 50, "max_position_embeddings": 8, "eos_token_id": 1, "bos_token_id": 0}
    vision = {"hidden_size": width, "image_size": CLIP_SIDE, "patch_size": 14}
    CLIPModel(CLIPConfig(text_config={**sizes, **text}, vision_config={**sizes, **vision})).save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": CLIP_SIDE}, crop_size={"height": CLIP_SIDE, "width": CLIP_SIDE}
    ).save_pretrained(folder)
    return folder


def picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """Coarse random colours."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks.repeat(8, axis=0).repeat(8, axis=1))


def pose(seed: int, width: int = 64, height: int = 64) -> Pose:
    points = np.random.default_rng(seed).uniform(1, (width - 1, height - 1), (18, 2))
    return Pose(np.concatenate([points, np.ones((18, 1))], axis=1).astype(np.float32), width, height)
