"""Sizes of presets: parameters against published counts, memory against what autograd really keeps."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from tiny_models import save_base, save_clip
from torch import nn

from imagpose.models.activations import Activations
from imagpose.models.presets import ABLATIONS, PRESETS
from imagpose.models.sizes import build_empty, count_parameters, training_memory
from imagpose.models.table import size_table
from imagpose.views import ViewGrid

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


def test_kept_tensors_of_a_chain_by_hand() -> None:
    """Linear, layer norm, SiLU, linear on 10 rows: each keeps its input, the norm two numbers per row besides."""
    meta = torch.device("meta")
    layers = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 4)).to(meta)
    for half, expected in ((False, 4 * (4 * 80 + 20)), (True, 2 * (2 * 80 + 20) + 4 * (2 * 80))):
        count = Activations(layers.parameters(), half)
        handle = layers[1].register_forward_hook(
            lambda _, args, output, count=count: count.around_norm(args[0], output)
        )
        with torch.autograd.graph.saved_tensors_hooks(count.keep, lambda tensor: tensor):
            layers(torch.empty(10, 8, device=meta))
        handle.remove()
        assert count.total == expected, half


def kept_on_the_cpu(networks: object, canvas: tuple[int, int], grid: ViewGrid) -> int:
    """Bytes of the distinct storages, but for weights, that autograd keeps of a real forward pass of one canvas."""
    unet, tokens = networks.unet, networks.feature_tokens
    weights = {
        weight.untyped_storage().data_ptr()
        for part in (unet, tokens, networks.pose_encoder)
        for weight in part.parameters()
    }
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage())
        return tensor

    image = networks.image_encoder.config
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = tokens(
            torch.randn(1, (224 // image.patch_size) ** 2 + 1, image.hidden_size), torch.randn(1, 4, 16, 16)
        )
        pose = networks.pose_encoder(torch.rand(1, 3, *canvas))
        sample = torch.randn(1, 9, canvas[0] // 8, canvas[1] // 8)
        unet(sample, torch.tensor([5]), features, pose, view_grid=grid)
    return sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in weights)


def test_activations_are_what_a_real_pass_keeps() -> None:
    config = {"block_out_channels": (32, 64, 64), "attention_head_dim": 4}
    networks = build_empty("mini", **config)
    memory = training_memory(networks, 3, 128, 96, precision="fp32")
    for part in (networks.unet, networks.pose_encoder, networks.feature_tokens):
        part.to_empty(device="cpu")
        for weight in part.parameters():
            nn.init.normal_(weight, std=0.05)
    real = kept_on_the_cpu(networks, (256, 192), ViewGrid(2, 2))
    assert memory.activations == pytest.approx(3 * real, rel=0.03)


def test_memory_by_the_formula() -> None:
    networks = empty("sd15-dinov2-g")
    counts = count_parameters(networks)
    trained = sum(counts[part] for part in ("unet", "cross_view", "pose_encoder", "feature_tokens"))
    full = training_memory(networks, 2, 256, 176, precision="fp32")
    assert (full.weights, full.gradients, full.optimiser, full.ema) == tuple(
        factor * trained for factor in (4, 4, 8, 4)
    )
    assert full.frozen == 4 * (counts["vae"] + counts["image_encoder"])
    assert full.total == 20 * trained + full.frozen + full.activations

    half = training_memory(networks, 2, 256, 192, cached=True)
    assert half.frozen == 0 and half.weights == 6 * trained
    assert 0.5 * full.activations < half.activations < 0.8 * full.activations  # 256x176 is padded to 256x192
    saving = training_memory(networks, 2, 256, 192, gradient_checkpointing=True)
    assert saving.activations < 0.4 * half.activations
    assert training_memory(networks, 6, 256, 192).activations == 3 * half.activations
    assert training_memory(networks, 2, 256, 192, ViewGrid(1, 2)).activations < 0.55 * half.activations


def test_the_table_has_a_row_for_each_name() -> None:
    lines = size_table(["official", "mini:B0"], 4, 256, 176).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:10] == ["official", "SD1.5", "DINOv2-B", "768", "859.5", "453.2", "1.1", "0.8", "83.7", "86.6"]
    assert float(cells[10]) > float(cells[11]) > 20
    with pytest.raises(ValueError, match="at least 1"):
        size_table([], 0, 256, 176)
