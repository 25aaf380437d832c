"""Tiny UNets in the layouts of Stable Diffusion 1.5 and 2.1, and a small one of our own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel

from imagpose.models.cross_view import CrossViewAttention
from imagpose.models.unet import IMAGPoseUNet
from small_unet import build_small_unet

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
    """`build_small_unet` with an awake CVA."""

    def build(**config: object) -> IMAGPoseUNet:
        torch.manual_seed(1)
        unet = build_small_unet(**config)
        awaken(unet)
        return unet.eval()

    return build
