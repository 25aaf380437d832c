"""Networks with random weights, and inputs for them: what benchmarks of speed have in common. Nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch

from imagpose.models.presets import Denoiser, build_denoiser, find_preset
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pixels import padded_size
from imagpose.views import ViewGrid, view_multiple

GRID = ViewGrid(2, 2)
_FACTOR = 8
_TOKENS = 258
_OWN_TOKENS = 56
"""Of F_C: DINOv2's 257 of a picture and one of the texture; mini's."""


def build(preset: str, small: bool = False, device: torch.device | str = "cpu") -> Denoiser:
    """The denoiser of a preset; layers that start at zero get noise, so that none of its branches is switched off.

    `mini`'s UNet has the skip of its input, as its configuration has it.

    Args:
        small: few channels, for tests.
    """
    torch.manual_seed(0)
    own = find_preset(preset).own
    changes: dict[str, Any] = {} if own is None else {"input_skip": True}
    if small and own is not None:
        levels = len(own.unet["block_out_channels"])
        changes |= {"block_out_channels": (16, 32, 32, 48)[:levels], "norm_num_groups": 8}
    elif small:
        changes = {"block_out_channels": (32, 32, 64, 64), "norm_num_groups": 16, "attention_head_dim": 4}
    with torch.device(device):
        denoiser = build_denoiser(preset, 768 if own is None else 192, 4 if own is None else 16, _FACTOR, **changes)
    return switch_on(denoiser)


def switch_on(denoiser: Denoiser) -> Denoiser:
    """The same with noise in what starts at zero, ready to be evaluated."""
    for network in (denoiser.unet, denoiser.pose_encoder, denoiser.feature_tokens):
        for parameter in network.eval().parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.02)
    return denoiser


def padded_view(unet: IMAGPoseUNet, height: int, width: int) -> tuple[int, int]:
    """Height and width of a view as the VAE and the UNet see it."""
    return padded_size(height, width, view_multiple(len(unet.config.block_out_channels), _FACTOR))


def make_inputs(
    unet: IMAGPoseUNet, canvases: int, height: int, width: int, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """Arguments of the UNet for canvases of 2x2 views of `height` x `width` pixels: the same numbers in any precision."""
    generator, config = torch.Generator().manual_seed(1), unet.config
    padded = padded_view(unet, height, width)
    sides = (GRID.rows * padded[0] // _FACTOR, GRID.cols * padded[1] // _FACTOR)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(unet.device, dtype)

    tokens = _TOKENS if config.out_channels == 4 else _OWN_TOKENS
    return {
        "sample": draw(canvases, config.in_channels, *sides),
        "timestep": torch.tensor(500, device=unet.device),
        "encoder_hidden_states": draw(canvases, tokens, config.cross_attention_dim),
        "pose_features": draw(canvases, config.block_out_channels[0], *sides),
        "view_grid": GRID,
    }
