"""Peak memory of a training step of a preset, measured: weights, gradients, AdamW, EMA, forward and backward.

python benchmarks/training_memory.py [PRESET] [--batch 4] [--grid 2x2] [--size 256x176] [--precision bf16] [--checkpointing]

Networks are fresh, so nothing is downloaded; latents and image tokens are random, as if they were cached, and VAE and image
encoder are not loaded. On a GPU it is what torch has allocated, without CUDA's own memory; on a CPU the process's resident
memory above that before the networks are built.
"""

from __future__ import annotations

import argparse
import resource

import torch
from diffusers.training_utils import EMAModel

from imagpose.devices import choose_device
from imagpose.models.autoencoder import spatial_factor
from imagpose.models.presets import build_denoiser, find_preset
from imagpose.models.sizes import build_empty
from imagpose.pixels import padded_size
from imagpose.views import ViewGrid, view_multiple

_TOKENS = 257


def step(preset: str, batch: int, grid: ViewGrid, size: tuple[int, int], precision: str, checkpointing: bool) -> None:
    """Build what is trained and make two steps: the second has the optimiser's moments from its beginning."""
    device = torch.device(choose_device())
    empty = build_empty(find_preset(preset))
    factor = spatial_factor(empty["vae"])
    width = empty["image_encoder"].config.hidden_size
    parts = build_denoiser(preset, width, empty["vae"].config.latent_channels, factor)
    networks = torch.nn.ModuleList([parts.unet, parts.pose_encoder, parts.feature_tokens]).to(device).train()
    if checkpointing:
        parts.unet.enable_gradient_checkpointing()
    parameters = list(networks.parameters())
    optimizer = torch.optim.AdamW(parameters)
    ema = EMAModel(parameters, foreach=True)
    height, width = padded_size(*size, view_multiple(len(parts.unet.config.block_out_channels), factor))
    canvas, config = (grid.rows * height, grid.cols * width), parts.feature_tokens.config
    sample = torch.randn(batch, parts.unet.config.in_channels, *(side // factor for side in canvas), device=device)
    skeletons = torch.rand(batch, 3, *canvas, device=device)
    tokens = torch.randn(batch, _TOKENS, config.encoder_width, device=device)
    side = config.texture_long_side // factor
    texture = torch.randn(batch, config.latent_channels, side, side, device=device) if config.use_texture else None
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    for _ in range(2):
        with torch.autocast(device.type, dtype, enabled=precision != "fp32"):
            output = parts.unet(
                sample,
                torch.full((batch,), 500, device=device),
                parts.feature_tokens(tokens, texture).features,
                pose_features=parts.pose_encoder(skeletons).pose_features,
                view_grid=grid,
            ).sample
        output.float().square().mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.step(parameters)


def resident() -> int:
    """Most bytes that the process has had in memory."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="mini")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--grid", type=ViewGrid.parse, default=ViewGrid(2, 2))
    parser.add_argument("--size", default="256x176", help="height x width of a view in pixels")
    parser.add_argument("--precision", choices=["bf16", "fp16", "fp32"], default="bf16")
    parser.add_argument("--checkpointing", action="store_true")
    given = parser.parse_args()
    height, width = (int(side) for side in given.size.split("x"))
    before = resident()
    step(given.preset, given.batch, given.grid, (height, width), given.precision, given.checkpointing)
    on_gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() if on_gpu else resident() - before
    device = torch.cuda.get_device_name() if on_gpu else "CPU"
    saving = ", gradient checkpointing" if given.checkpointing else ""
    print(
        f"{given.preset}, {given.batch} canvases of {given.grid} views of {given.size}, {given.precision}{saving}:"
        f" {peak / 2**30:.2f} GiB ({device})"
    )


if __name__ == "__main__":
    main()
