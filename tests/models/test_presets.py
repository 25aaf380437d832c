"""Presets: rows of Table 3 by name; ablations differ from the full model in what Table 2 says, and in nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imagpose.models.presets import ABLATIONS, PRESETS, Denoiser, build_denoiser, find_preset
from imagpose.views import ViewGrid

TINY = {
    "block_out_channels": (32, 32, 32, 64),
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "cross_view_heads": 4,
}

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
    return build_denoiser(preset, 12, 4, 8, **TINY)


@pytest.mark.parametrize("preset", sorted(TABLE_2))
def test_parts_of_each_preset(preset: str) -> None:
    cross_view, texture, in_channels = TABLE_2[preset]
    parts, full = build(preset), build("mini")
    keys, full_keys = set(parts.unet.state_dict()), set(full.unet.state_dict())
    assert full_keys - keys == (set() if cross_view else {key for key in full_keys if ".cross_view." in key})
    assert keys <= full_keys
    assert parts.unet.conv_in.weight.shape[1] == in_channels
    assert ("texture.weight" in parts.feature_tokens.state_dict()) == texture
    assert type(parts.unet) is type(full.unet)


@pytest.mark.parametrize("preset", sorted(TABLE_2))
def test_networks_of_each_preset_fit_together(preset: str) -> None:
    parts, grid = build(preset), ViewGrid(2, 2)
    latents = torch.randn(2, 4, 32, 16) if TABLE_2[preset][1] else None
    features = parts.feature_tokens(torch.randn(2, 3, 12), latents).features
    pose_features = parts.pose_encoder(torch.rand(2, 3, 128, 128)).pose_features
    sample = torch.randn(2, TABLE_2[preset][2], 16, 16)
    output = parts.unet(sample, torch.tensor([1, 2]), features, pose_features, view_grid=grid).sample
    output.square().mean().backward()
    unused = [name for part in (parts.unet, parts.feature_tokens) for name, weight in part.named_parameters()
              if weight.grad is None]  # fmt: skip
    assert output.shape == (2, 4, 16, 16)
    assert unused == []


def test_overrides() -> None:
    assert build("mini").pose_encoder.config.out_channels == 32
    assert (
        build_denoiser("mini", 12, 4, 8, texture_long_side=384, **TINY).feature_tokens.config.texture_long_side == 384
    )


@pytest.mark.parametrize(("ablation", "in_channels"), [("", 33), (":B0", 17), (":B4", 33), (":M1", 16)])
def test_input_channels_follow_from_the_latents(ablation: str, in_channels: int) -> None:
    arguments = find_preset(f"mini{ablation}").unet_arguments(16)
    assert (arguments["in_channels"], arguments["out_channels"]) == (in_channels, 16)
    assert find_preset(f"mini{ablation}").unet_arguments(4, {"out_channels": 16})["in_channels"] == in_channels
    with torch.device("meta"):
        parts = build_denoiser(f"mini{ablation}", encoder_width=12, latent_channels=16, factor=8)
    assert parts.feature_tokens.config.latent_channels == parts.unet.config.out_channels == 16
    assert sum(weight.numel() for weight in parts.unet.parameters()) <= 30_000_000
    assert parts.pose_encoder.config.block_channels == (16, 32, 64)


def test_a_vae_of_another_kind_fits() -> None:
    """16 pixels and 32 channels per latent: pose features and texture tokens meet the latents all the same."""
    torch.manual_seed(0)
    parts, grid = build_denoiser("mini", 12, latent_channels=32, factor=16, **TINY), ViewGrid(1, 2)
    features = parts.feature_tokens(torch.randn(1, 3, 12), torch.randn(1, 32, 16, 16)).features
    pose_features = parts.pose_encoder(torch.rand(1, 3, 128, 256)).pose_features
    output = parts.unet(torch.randn(1, 65, 8, 16), 1, features, pose_features, view_grid=grid).sample
    assert output.shape == (1, 32, 8, 16)


def test_every_row_of_table_3_has_a_name() -> None:
    encoders = ("clip-b16", "clip-b32", "clip-h", "clip-bigg", "dinov2-b", "dinov2-l", "dinov2-g")
    rows = {f"{base}-{encoder}" for base in ("sd15", "sd21") for encoder in encoders}
    assert set(PRESETS) == {"mini", "official"} | rows
    assert {preset.name for preset in PRESETS.values()} == set(PRESETS)
    assert find_preset("sd21-clip-h").base.prediction_type == "v_prediction"
    assert find_preset("sd15-clip-h").base.prediction_type == "epsilon"


def test_ablations_of_any_preset() -> None:
    assert find_preset("B3") == replace(find_preset("mini:B3"), name="B3")
    large = find_preset("sd21-dinov2-g:B0")
    assert large.base is PRESETS["sd21-dinov2-g"].base
    arguments = large.unet_arguments(4)
    assert (arguments["cross_attention_dim"], arguments["in_channels"], arguments["cross_view_placement"]) == (
        1024,
        5,
        None,
    )
    assert large.variant is ABLATIONS["B0"] and large.name == "sd21-dinov2-g:B0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("B9", "preset 'B9': one of mini, sd15-clip-b16, .*B0, B1"),
        ("sd15:B1", "preset 'sd15:B1': one of mini"),
        ("mini:full", "preset 'mini:full': one of B0, B1, B2, B3, B4, M1 expected behind the colon"),
    ],
)
def test_unknown_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_denoiser(name, 12, 4, 8)
