"""Tiny UNets in the layouts of Stable Diffusion 1.5 and 2.1, and a small one of our own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel

from imagpose.models import CrossViewAttention, IMAGPoseUNet

STABLE_DIFFUSION = {
    "1.5": {"block_out_channels": (16, 32, 64, 64), "norm_num_groups": 8, "attention_head_dim": 8},
    "2.1": {
        "block_out_channels": (20, 40, 80, 80),
        "norm_num_groups": 10,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
        "upcast_attention": True,
    },
}

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


def awaken(unet: torch.nn.Module) -> None:
    """Give every zero output projection random weights, so that cross-view attention does something."""
    for module in unet.modules():
        if isinstance(module, CrossViewAttention):
            torch.nn.init.normal_(module.proj_out.weight, std=0.3)
            torch.nn.init.normal_(module.proj_out.bias, std=0.3)


@pytest.fixture(params=["1.5", "2.1"])
def stable_diffusion(request: pytest.FixtureRequest) -> UNet2DConditionModel:
    """A tiny random base UNet with four levels and 16 transformers."""
    torch.manual_seed(0)
    return UNet2DConditionModel(cross_attention_dim=24, **STABLE_DIFFUSION[request.param]).eval()


@pytest.fixture
def small_unet() -> Callable[..., IMAGPoseUNet]:
    """Builds our UNet with three levels and an awake CVA; arguments as IMAGPoseUNet's."""

    def build(**config: object) -> IMAGPoseUNet:
        torch.manual_seed(1)
        unet = IMAGPoseUNet(**{**SMALL, **config})
        awaken(unet)
        return unet.eval()

    return build
