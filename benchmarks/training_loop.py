"""Samples per second of the denoiser's training loop, with cached latents and with pictures encoded in every step.

python benchmarks/training_loop.py [--steps 12] [--batch 8] [--identities 32] [--threads 1] [--size 128x96]
    [--unet mini] [--only TEXT]

Both loops train a UNet from scratch on the same rendered people: `mini`'s, or one of Stable Diffusion 1.5's layers with half
of its channels (`--unet half-sd15`), for latents of `mini`'s autoencoder. "Outside" is the share of a step that is neither
forward nor backward of UNet, pose encoder and feature tokens: reading, encoding, optimiser, EMA. Both take turns; medians
count.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers.training_utils import EMAModel

from imagpose.data.rendered import prepare_people
from imagpose.training.denoiser import DenoiserStage
from imagpose.training.denoiser.cache import build_cache
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.networks import build_pipeline

SIZE = (128, 96)
UNETS: dict[str, dict[str, Any]] = {
    "mini": {},
    "half-sd15": {
        "block_out_channels": (160, 320, 640, 640),
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "use_linear_projection": False,
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
        "cross_view_heads": 8,
        "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    },
}
LOOPS = {"with caches": True, "pictures encoded in every step": False}


def build(folder: Path, batch: int, cached: bool, size: tuple[int, int], unet: str) -> DenoiserStage:
    """The stage on the prepared people, as a run builds it."""
    data = {"dataset": str(folder / "people"), "height": size[0], "width": size[1]}
    config = DenoiserConfig.model_validate(
        {
            "output": str(folder / "run"),
            "data": data | ({"cache": str(folder / "cache")} if cached else {}),
            "batch_size": batch,
            "unet": UNETS[unet],
            "prediction_type": "v_prediction",
            "zero_terminal_snr": True,
        }
    )
    pipeline = build_pipeline(config)
    if cached:
        build_cache(config, pipeline)
    return DenoiserStage(config, pipeline)


class Loop:
    """One loop: `step` does what a training step does and says how long it and the networks in it took."""

    def __init__(self, stage: DenoiserStage, batch: int) -> None:
        self.stage, self.batch, self.number = stage, batch, 0
        self.optimizer = torch.optim.AdamW(stage.parameters(), lr=1e-4)
        self.ema = EMAModel(stage.parameters(), decay=0.999, foreach=True)

    def step(self) -> tuple[float, float]:
        """Seconds of the whole step, and of forward and backward of what is trained."""
        started = time.perf_counter()
        batch = self.stage.batch(self.number, range(self.batch))
        with torch.autocast("cpu", torch.bfloat16):
            batch = self.stage.frozen.encode(batch, self.stage.feature_tokens)
            networks = time.perf_counter()
            loss = self.stage(batch)[0]
        loss.backward()
        networks = time.perf_counter() - networks
        torch.nn.utils.clip_grad_norm_(self.stage.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.stage.parameters())
        self.number += 1
        return time.perf_counter() - started, networks


def measure(
    folder: Path, steps: int, batch: int, identities: int, size: tuple[int, int] = SIZE, unet: str = "mini",
    only: str = "",
) -> tuple[dict[str, float], dict[str, float]]:  # fmt: skip
    """Of the loops, with caches first: canvases per second, and the share of a step outside the networks."""
    prepare_people(0, identities, 8, *size, folder / "people")
    loops = {
        title: Loop(build(folder, batch, cached, size, unet), batch) for title, cached in LOOPS.items() if only in title
    }
    times: dict[str, list[tuple[float, float]]] = {title: [] for title in loops}
    for turn in range(steps + 2):
        for title, loop in loops.items():
            measured = loop.step()
            if turn >= 2:
                times[title].append(measured)
    rates = {title: batch / median(whole for whole, _ in own) for title, own in times.items()}
    return rates, {title: median(1 - networks / whole for whole, networks in own) for title, own in times.items()}


def main() -> None:
    """Print one line per loop, and the ratio of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--identities", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", default=f"{SIZE[0]}x{SIZE[1]}", help="height x width of a view in pixels")
    parser.add_argument("--unet", choices=UNETS, default="mini")
    parser.add_argument("--only", default="", help="loops whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    height, width = (int(side) for side in arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        rates, outside = measure(
            Path(name), arguments.steps, arguments.batch, arguments.identities, (height, width), arguments.unet,
            arguments.only,
        )  # fmt: skip
    print(
        f"{platform.machine()}, {arguments.threads} thread(s), bf16 autocast, {arguments.unet}, 2x2 canvases of"
        f" {arguments.size} views, batch {arguments.batch}, medians of {arguments.steps} steps"
    )
    for title, rate in rates.items():
        print(f"{title:32s} {rate:5.2f} canvases/s, outside the networks {outside[title]:.1%}")
    if len(rates) == len(LOOPS):
        first, second = rates.values()
        print(f"ratio {first / second:.2f}")


if __name__ == "__main__":
    main()
