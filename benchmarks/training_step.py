"""What a training step of `mini` costs: forward, backward, clipping, optimiser and EMA on joint canvases.

python benchmarks/training_step.py [--batch 4] [--grid 2x2] [--size 256x192] [--threads 1] [--rounds 5] [--only TEXT]

Variants take turns, and the median of each counts; ratios are to the first line, the plain step: a pose encoder at full size
as wide as the first generation's, torch's fused attention. The second line is how `mini` is trained.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from diffusers.training_utils import EMAModel
from torch import nn

from imagpose.models.presets import build_denoiser
from imagpose.views import ViewGrid

_TOKENS = 56
_ENCODER_WIDTH = 192


@dataclass(frozen=True)
class Variant:
    """One way to run a step.

    Attributes:
        dtype: "autocast" (bf16 autocast over fp32 weights), "bf16" (weights too, which is no training) or "fp32".
        fused_attention: torch's scaled_dot_product_attention instead of matrix products and a softmax.
        channels_last: the UNet's memory layout.
        compiled: torch.compile of the UNet.
        ema_every: steps between updates of the averaged weights.
        pose_channels: widths of the pose encoder; None: the preset's.
        unet: arguments of IMAGPoseUNet in place of the preset's.
    """

    dtype: str = "autocast"
    fused_attention: bool = False
    channels_last: bool = False
    compiled: bool = False
    ema_every: int = 1
    pose_channels: tuple[int, ...] | None = None
    unet: dict[str, Any] = field(default_factory=dict)


PLAIN, TRAINED = "plain", "as mini is trained"
VARIANTS = {
    PLAIN: Variant(fused_attention=True, pose_channels=(16, 32, 48, 96)),
    TRAINED: Variant(ema_every=4),
    "EMA in every step": Variant(),
    "fused attention": Variant(ema_every=4, fused_attention=True),
    "pose encoder at full size, 8 to 64": Variant(ema_every=4, pose_channels=(8, 16, 32, 64)),
    "channels_last UNet": Variant(ema_every=4, channels_last=True),
    "bf16 weights": Variant(ema_every=4, dtype="bf16"),
    "fp32": Variant(ema_every=4, dtype="fp32"),
    "without cross-view attention": Variant(ema_every=4, unet={"cross_view_placement": None}),
    "compiled": Variant(ema_every=4, compiled=True),
}


def prepare(
    variant: Variant, batch: int, grid: ViewGrid, height: int, width: int
) -> tuple[Callable[[int], None], float]:
    """The step as a function of its number, and its UNet's millions of parameters."""
    torch.manual_seed(0)
    changes = {"input_skip": True, **variant.unet}
    parts = build_denoiser("mini", _ENCODER_WIDTH, 16, 8, pose_channels=variant.pose_channels, **changes)
    networks = nn.ModuleList([parts.unet, parts.pose_encoder]).train()
    unet, pose_encoder = parts.unet, parts.pose_encoder
    unet.set_attn_processor(AttnProcessor2_0() if variant.fused_attention else AttnProcessor())
    dtype = torch.bfloat16 if variant.dtype == "bf16" else torch.float32
    networks.to(dtype)
    canvas = (grid.rows * height, grid.cols * width)
    sample = torch.randn(batch, unet.config.in_channels, canvas[0] // 8, canvas[1] // 8, dtype=dtype)
    skeleton = torch.rand(batch, 3, *canvas, dtype=dtype)
    features = torch.randn(batch, _TOKENS, unet.config.cross_attention_dim, dtype=dtype)
    timesteps = torch.randint(0, 1000, (batch,))
    if variant.channels_last:
        unet.to(memory_format=torch.channels_last)
        sample = sample.contiguous(memory_format=torch.channels_last)
    if variant.compiled:
        unet.compile()
    parameters = list(networks.parameters())
    optimizer = torch.optim.AdamW(parameters, 1e-4, fused=True)
    ema = EMAModel(parameters, foreach=True)

    def step(number: int) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.dtype == "autocast"):
            output = unet(sample, timesteps, features, pose_encoder(skeleton).pose_features, view_grid=grid).sample
        output.float().square().mean().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if number % variant.ema_every == 0:
            ema.step(parameters)

    return step, sum(parameter.numel() for parameter in unet.parameters()) / 1e6


def measure(steps: dict[str, Callable[[int], None]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median processor and wall-clock seconds of each step, a mean over four in a row; the first round warms up."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            processor, wall = time.process_time(), time.perf_counter()
            for number in range(4):
                step(number)
            if turn:
                seconds[name].append(((time.process_time() - processor) / 4, (time.perf_counter() - wall) / 4))
    return {
        name: (statistics.median(p for p, _ in own), statistics.median(w for _, w in own))
        for name, own in seconds.items()
    }


def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--grid", type=ViewGrid.parse, default=ViewGrid(2, 2))
    parser.add_argument("--size", default="256x192", help="height x width of a padded view in pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="variants whose name contains this, beside the first two")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    height, width = (int(side) for side in arguments.size.split("x"))

    chosen = {name: variant for name, variant in VARIANTS.items() if name in (PLAIN, TRAINED) or arguments.only in name}
    prepared = {
        name: prepare(variant, arguments.batch, arguments.grid, height, width) for name, variant in chosen.items()
    }
    seconds = measure({name: step for name, (step, _) in prepared.items()}, arguments.rounds)
    print(
        f"{arguments.batch} canvases of {arguments.grid} views of {height}x{width}, {arguments.threads} thread(s), torch"
        f" {torch.__version__}; canvases/s by processor time x threads, and by wall-clock time"
    )
    first = seconds[PLAIN][0]
    for name, (processor, wall) in seconds.items():
        rate = arguments.batch * arguments.threads / processor
        print(
            f"{name:36s} {chosen[name].dtype:9s} {prepared[name][1]:5.1f} M  time {processor / first:4.2f}"
            f"  speed {first / processor:4.2f}  {rate:6.2f} canvases/s  (wall {arguments.batch / wall:6.2f})"
        )


if __name__ == "__main__":
    main()
