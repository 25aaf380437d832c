"""Sizes of presets: parameters against published counts."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from tiny_models import save_base, save_clip

from imagpose.models.presets import ABLATIONS, PRESETS
from imagpose.models.sizes import build_empty, count_parameters, size_table

empty = cache(build_empty)


@pytest.mark.parametrize("name", [*PRESETS, *ABLATIONS, "sd21-clip-bigg:M1"])
def test_every_preset_is_built_without_memory(name: str) -> None:
    networks = empty(name)
    parts = (networks.unet, networks.pose_encoder, networks.feature_tokens, networks.vae, networks.image_encoder)
    assert all(weight.is_meta for part in parts for weight in part.parameters())
    counts = count_parameters(networks)
    assert sum(counts.values()) == sum(weight.numel() for part in parts for weight in part.parameters())
    assert networks.feature_tokens.config.encoder_width == networks.image_encoder.config.hidden_size


@pytest.mark.parametrize(
    ("name", "part", "millions"),
    [
        ("sd15-dinov2-b", "unet", 859.5),  # Stable Diffusion 1.5: 859.52 M, and 5 more channels in conv_in
        ("sd21-dinov2-b", "unet", 865.9),  # Stable Diffusion 2.1: 865.91 M
        ("sd15-clip-b", "vae", 83.7),
        ("official", "cross_view", 453.2),  # of the published checkpoints, as the next two
        ("official", "pose_encoder", 1.09),
        ("official", "feature_tokens", 0.79),
        ("sd15-clip-b", "image_encoder", 87.5),  # vision towers of the published CLIPs
        ("sd15-clip-h", "image_encoder", 630.8),
        ("sd15-clip-bigg", "image_encoder", 1842.8),
        ("sd15-dinov2-b", "image_encoder", 86.6),  # 86, 300 and 1,100 M in the DINOv2 paper
        ("sd15-dinov2-l", "image_encoder", 304.4),
        ("sd15-dinov2-g", "image_encoder", 1136.5),
    ],
)
def test_parameters_are_those_of_the_published_models(name: str, part: str, millions: float) -> None:
    count = count_parameters(empty(name))[part] / 1e6
    assert count == pytest.approx(millions, abs=0.05 if millions > 10 else 0.005)


def test_table_3_projects_where_the_widths_differ() -> None:
    """F_L's convolution has 4 x 16 x 16 weights per channel; what is more is the projection."""
    for base, width in (("sd15", 768), ("sd21", 1024)):
        for encoder, own in (
            ("clip-b", 768),
            ("clip-h", 1280),
            ("clip-bigg", 1664),
            ("dinov2-l", 1024),
            ("dinov2-g", 1536),
        ):
            count = count_parameters(empty(f"{base}-{encoder}"))["feature_tokens"]
            projection = 0 if own == width else own * width + width
            assert count == 1024 * width + width + projection, (base, encoder)


def test_sizes_of_given_folders_are_read(tmp_path: Path) -> None:
    base, clip = save_base(tmp_path / "base"), save_clip(tmp_path / "clip", 24)
    networks = build_empty("sd15-clip-b", base, clip, cross_view_heads=4)
    assert networks.unet.config.block_out_channels == [32, 32, 64, 64]
    assert networks.image_encoder.config.hidden_size == 24
    assert networks.vae.config.block_out_channels == [4, 4, 8, 8]
    with pytest.raises(ValueError, match="depht"):
        build_empty("sd15-clip-b", base, clip, cross_view_depht=1)
    (base / "unet/config.json").unlink()
    with pytest.raises(FileNotFoundError, match="unet has no config.json: get it from stable-diffusion-v1-5"):
        build_empty("sd15-clip-b", base, clip)


def test_the_table_has_a_row_for_each_name() -> None:
    lines = size_table(["official", "mini:B0"]).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == ["official", "SD1.5", "DINOv2-B", "768", "859.5", "453.2", "1.1", "0.8", "83.7", "86.6"]
