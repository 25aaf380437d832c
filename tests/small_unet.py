"""A small UNet of our own for tests: three levels, the finest without attention as in mini."""

from __future__ import annotations

from imagpose.models.unet import IMAGPoseUNet

SMALL = {
    "in_channels": 9,
    "block_out_channels": (8, 16, 24),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "cross_attention_dim": 12,
    "cross_view_heads": 2,
}


def build_small_unet(**config: object) -> IMAGPoseUNet:
    """The UNet, its random weights as torch's generator has them; arguments in place of its own."""
    return IMAGPoseUNet(**{**SMALL, **config})
