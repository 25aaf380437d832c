"""Presets: the ablations differ from the full model in what Table 2 says, and in nothing else."""

from __future__ import annotations

import pytest
import torch

from imagpose.models.presets import PRESETS, Denoiser, build_denoiser
from imagpose.views import ViewGrid

TINY = {"block_out_channels": (32, 32, 64), "cross_attention_dim": 16, "attention_head_dim": 4, "cross_view_heads": 4}

# name: cross-view attention, texture tokens, input channels
TABLE_2 = {
    "mini": (True, True, 9),
    "B0": (False, False, 5),
    "B1": (True, False, 5),
    "B2": (False, True, 5),
    "B3": (True, False, 9),
    "B4": (False, True, 9),
    "M1": (False, False, 4),
}


def build(preset: str) -> Denoiser:
    torch.manual_seed(0)
    return build_denoiser(preset, encoder_width=12, **TINY)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_parts_of_each_preset(preset: str) -> None:
    cross_view, texture, in_channels = TABLE_2[preset]
    parts, full = build(preset), build("mini")
    keys, full_keys = set(parts.unet.state_dict()), set(full.unet.state_dict())
    assert full_keys - keys == (set() if cross_view else {key for key in full_keys if ".cross_view." in key})
    assert keys <= full_keys
    assert parts.unet.conv_in.weight.shape[1] == in_channels
    assert ("texture.weight" in parts.feature_tokens.state_dict()) == texture
    assert type(parts.unet) is type(full.unet)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_networks_of_each_preset_fit_together(preset: str) -> None:
    parts, grid = build(preset), ViewGrid(2, 2)
    latents = torch.randn(2, 4, 32, 16) if TABLE_2[preset][1] else None
    features = parts.feature_tokens(torch.randn(2, 3, 12), latents)
    pose_features = parts.pose_encoder(torch.rand(2, 3, 128, 64))
    sample = torch.randn(2, TABLE_2[preset][2], 16, 8)
    output = parts.unet(sample, torch.tensor([1, 2]), features, pose_features, view_grid=grid).sample
    output.square().mean().backward()
    unused = [name for part in (parts.unet, parts.feature_tokens) for name, weight in part.named_parameters()
              if weight.grad is None]  # fmt: skip
    assert output.shape == (2, 4, 16, 8)
    assert unused == []


def test_overrides_and_unknown_names() -> None:
    assert build("mini").pose_encoder.config.out_channels == 32
    with pytest.raises(ValueError, match="preset 'B9': one of mini, B0, B1"):
        build_denoiser("B9", encoder_width=12)
