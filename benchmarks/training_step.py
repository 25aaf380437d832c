"""What a training step of `mini` costs: forward and backward of UNet and pose encoder on joint canvases.

python benchmarks/training_step.py [--batch 16] [--grid 2x2] [--size 128x96] [--threads 1] [--rounds 5] [--only TEXT]

Variants take turns, and the least processor time of each counts, so that other work on the machine changes the ratios
little. The first line is how `mini` is trained; ratios are to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from imagpose.models.presets import build_denoiser
from imagpose.views import ViewGrid

_TOKENS = 61
_ENCODER_WIDTH = 192


@dataclass(frozen=True)
class Variant:
    """One way to run a step.

    Attributes:
        dtype: "autocast" (bf16 autocast over fp32 weights), "bf16" (weights too) or "fp32".
        fused_attention: torch's scaled_dot_product_attention instead of matrix products and a softmax.
        channels_last: the UNet's memory layout.
        pose: whether the pose encoder is in the step.
        unet: arguments of IMAGPoseUNet in place of `mini`'s.
    """

    dtype: str = "autocast"
    fused_attention: bool = False
    channels_last: bool = False
    pose: bool = True
    unet: dict[str, Any] = field(default_factory=dict)


_LEVELS = 3
VARIANTS = {
    "mini": Variant(),
    "bf16 weights": Variant(dtype="bf16"),
    "fp32": Variant(dtype="fp32"),
    "fused attention": Variant(fused_attention=True),
    "channels_last UNet": Variant(channels_last=True),
    "without pose encoder": Variant(pose=False),
    "without cross-view attention": Variant(unet={"cross_view_placement": None}),
    "cross-view depth 2, feed-forward": Variant(unet={"cross_view_depth": 2, "cross_view_feed_forward": True}),
    "no transformers at full size": Variant(
        unet={
            "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * (_LEVELS - 1)),
            "up_block_types": (*("CrossAttnUpBlock2D",) * (_LEVELS - 1), "UpBlock2D"),
        }
    ),
    "M1": Variant(unet={"in_channels": 4, "view_layout": "batch", "cross_view_placement": None}),
}


def prepare(variant: Variant, batch: int, grid: ViewGrid, height: int, width: int) -> tuple[Callable[[], None], float]:
    """The step as a function, and its UNet's millions of parameters."""
    torch.manual_seed(0)
    parts = build_denoiser("mini", _ENCODER_WIDTH, **variant.unet)
    unet, pose_encoder = parts.unet.train(), parts.pose_encoder.train()
    dtype = torch.bfloat16 if variant.dtype == "bf16" else torch.float32
    processor = AttnProcessor2_0() if variant.fused_attention else AttnProcessor()
    unet.set_attn_processor(processor)
    canvas = (grid.rows * height, grid.cols * width)
    sample = torch.randn(batch, unet.config.in_channels, canvas[0] // 8, canvas[1] // 8, dtype=dtype)
    skeleton = torch.rand(batch, 3, *canvas, dtype=dtype)
    features = torch.randn(batch, _TOKENS, unet.config.cross_attention_dim, dtype=dtype)
    timesteps = torch.randint(0, 1000, (batch,))
    for module in (unet, pose_encoder):
        for parameter in module.parameters():
            parameter.data = parameter.data.to(dtype)
        for buffer in module.buffers():
            buffer.data = buffer.data.to(dtype)
    if variant.channels_last:
        unet.to(memory_format=torch.channels_last)
        sample = sample.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.dtype == "autocast"):
            pose_features = pose_encoder(skeleton) if variant.pose else None
            output = unet(sample, timesteps, features, pose_features, view_grid=grid).sample
        output.float().square().mean().backward()

    return step, sum(parameter.numel() for parameter in unet.parameters()) / 1e6


def measure(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, tuple[float, float]]:
    """Least processor and wall-clock seconds of each step; the first round warms up."""
    best = dict.fromkeys(steps, (float("inf"), float("inf")))
    for turn in range(rounds + 1):
        for name, step in steps.items():
            processor, wall = time.process_time(), time.perf_counter()
            step()
            used = time.process_time() - processor, time.perf_counter() - wall
            if turn:
                best[name] = min(best[name][0], used[0]), min(best[name][1], used[1])
    return best


def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--grid", type=ViewGrid.parse, default=ViewGrid(2, 2))
    parser.add_argument("--size", default="128x96", help="height x width of a view in pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="variants whose name contains this, beside the first")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    height, width = (int(side) for side in arguments.size.split("x"))

    chosen = {name: variant for name, variant in VARIANTS.items() if name == "mini" or arguments.only in name}
    prepared = {
        name: prepare(variant, arguments.batch, arguments.grid, height, width) for name, variant in chosen.items()
    }
    seconds = measure({name: step for name, (step, _) in prepared.items()}, arguments.rounds)
    print(
        f"{arguments.batch} canvases of {arguments.grid} views of {height}x{width}, {arguments.threads} thread(s);"
        " canvases/s by processor time x threads, and by wall-clock time"
    )
    first = seconds["mini"][0]
    for name, (processor, wall) in seconds.items():
        rate = arguments.batch * arguments.threads / processor
        print(
            f"{name:34s} {chosen[name].dtype:9s} {prepared[name][1]:5.1f} M  ratio {processor / first:4.2f}"
            f"  {rate:6.1f} canvases/s  (wall {arguments.batch / wall:6.1f})"
        )


if __name__ == "__main__":
    main()
