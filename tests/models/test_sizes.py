"""Sizes of presets: parameters against published counts."""

from __future__ import annotations

from functools import cache

import pytest
from safetensors.torch import load_file
from torch import nn

from imagpose.models.folder import WEIGHTS_ROOT
from imagpose.models.presets import ABLATIONS, PRESETS, find_preset
from imagpose.models.sizes import build_empty, count_parameters, size_table


@cache
def empty(name: str) -> dict[str, nn.Module]:
    return build_empty(find_preset(name))


@pytest.mark.parametrize("name", [*PRESETS, *ABLATIONS, "sd21-clip-bigg:M1"])
def test_every_preset_is_built_without_memory(name: str) -> None:
    networks = empty(name)
    weights = [weight for network in networks.values() for weight in network.parameters()]
    assert all(weight.is_meta for weight in weights)
    assert sum(count_parameters(networks).values()) == sum(weight.numel() for weight in weights)
    assert networks["feature_tokens"].config.encoder_width == networks["image_encoder"].config.hidden_size


@pytest.mark.parametrize(
    ("name", "part", "millions"),
    [
        ("sd15-dinov2-b", "unet", 859.5),  # Stable Diffusion 1.5: 859.52 M, and 5 more channels in conv_in
        ("sd21-dinov2-b", "unet", 865.9),  # Stable Diffusion 2.1: 865.91 M
        ("sd15-clip-b32", "vae", 83.7),
        ("official", "cross_view", 453.2),  # of the published checkpoints, as the next two
        ("official", "pose_encoder", 1.09),
        ("official", "feature_tokens", 0.79),
        ("sd15-clip-b32", "image_encoder", 87.5),  # vision towers of the published CLIPs
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
            ("clip-b32", 768),
            ("clip-h", 1280),
            ("clip-bigg", 1664),
            ("dinov2-l", 1024),
            ("dinov2-g", 1536),
        ):
            count = count_parameters(empty(f"{base}-{encoder}"))["feature_tokens"]
            projection = 0 if own == width else own * width + width
            assert count == 1024 * width + width + projection, (base, encoder)


@pytest.mark.parametrize("name", ["mini"])
def test_the_autoencoder_of_an_own_preset_is_the_shipped_one(name: str) -> None:
    shipped = load_file(WEIGHTS_ROOT / name / "vae" / "diffusion_pytorch_model.safetensors")
    vae = empty(name)["vae"]
    assert {key: weight.shape for key, weight in vae.state_dict().items()} == {
        key: weight.shape for key, weight in shipped.items()
    }


def test_the_table_has_a_row_for_each_name() -> None:
    lines = size_table(["official", "mini:B0"]).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == ["official", "SD1.5", "DINOv2-B", "768", "859.5", "453.2", "1.1", "0.8", "83.7", "86.6"]
