"""What a large bulk job would cost on GPUs: computed from the operations of a preset, not measured on any GPU.

    python benchmarks/bulk_cost.py --preset sd15-dinov2-g --size 256x176 --requests 1000000 --gpus 8

The operations of UNet, VAE and image encoder are counted on the meta device (2 for each multiplication with addition), for a
request of one canvas. The GPU's speed is an assumption: its peak in bf16, and the share of it that is reached.
"""

from __future__ import annotations

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from imagpose.models.autoencoder import spatial_factor
from imagpose.models.presets import find_preset
from imagpose.models.sizes import build_empty
from imagpose.pictures import parse_size
from imagpose.pixels import padded_size
from imagpose.views import ViewGrid, view_multiple


def count_operations(
    preset: str, size: tuple[int, int], grid: ViewGrid, sources: int, poses: int, encoder_side: int
) -> dict[str, float]:
    """TFLOP of each part, for one request on one canvas; of the UNet for one step with guidance."""
    networks = build_empty(find_preset(preset))
    unet, vae, encoder = networks["unet"], networks["vae"], networks["image_encoder"]
    factor = spatial_factor(vae)
    height, width = padded_size(*size, view_multiple(len(unet.config.block_out_channels), factor))
    h, w = height // factor, width // factor
    channels, tokens = networks["pose_encoder"].config.out_channels, 512
    with torch.device("meta"), torch.no_grad():
        canvas = torch.empty(2, unet.config.in_channels, grid.rows * h, grid.cols * w)
        pose = torch.empty(2, channels, grid.rows * h, grid.cols * w)
        features = torch.empty(2, tokens, unet.config.cross_attention_dim)
        time = torch.empty(2, dtype=torch.long)
        views, latents = (
            torch.empty(sources + 1, 3, height, width),
            torch.empty(poses, vae.config.latent_channels, h, w),
        )
        seen = torch.empty(1, 3, encoder_side, encoder_side)
        calls = {
            "UNet": lambda: unet(canvas, time, features, pose_features=pose, view_grid=grid, return_dict=False),
            "VAE": lambda: (vae.encode(views), vae.decode(latents)),
            "image encoder": lambda: encoder(seen),
        }
        counted = {}
        for name, call in calls.items():
            with FlopCounterMode(display=False) as counter:
                call()  # type: ignore[no-untyped-call]
            counted[name] = counter.get_total_flops() / 1e12
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="sd15-dinov2-g")
    parser.add_argument("--size", default="256x176")
    parser.add_argument("--grid", default="2x2")
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--poses", type=int, default=1)
    parser.add_argument("--encoder", type=int, default=224, help="pixels a side that the image encoder sees")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--peak", type=float, default=990.0, help="TFLOP/s of a GPU in bf16 without sparsity")
    parser.add_argument("--reached", type=float, nargs="+", default=[0.2, 0.4], help="shares of the peak")
    parser.add_argument("--overhead", type=float, default=0.02, help="seconds of CPU a request, see bulk_overhead.py")
    given = parser.parse_args()
    parts = count_operations(
        given.preset, parse_size(given.size), ViewGrid.parse(given.grid), given.sources, given.poses, given.encoder
    )
    whole = parts["UNet"] * given.steps + parts["VAE"] + parts["image encoder"]
    print(f"{given.preset}, {given.size}, grid {given.grid}, {given.sources} photos, {given.poses} pictures a request")
    print(", ".join(f"{name} {value:.2f} TFLOP" for name, value in parts.items()) + " (UNet: a step with guidance)")
    print(f"a request of {given.steps} steps: {whole:.1f} TFLOP")
    for share in given.reached:
        rate = given.peak * share / whole
        on_gpu = given.requests / rate / given.gpus / 3600
        with_cpu = given.requests * (1 / rate + given.overhead) / given.gpus / 3600
        print(
            f"at {share:.0%} of {given.peak:g} TFLOP/s: {rate:.1f} requests/s a GPU;"
            f" {given.requests:,} requests on {given.gpus} GPUs: {on_gpu:.1f} h, {on_gpu * given.gpus:.0f} GPU hours;"
            f" {with_cpu:.1f} h where a worker does its {1000 * given.overhead:g} ms of CPU between batches"
        )


if __name__ == "__main__":
    main()
