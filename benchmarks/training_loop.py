"""Samples per second of the denoiser's training loop, with cached latents and with pictures encoded in every step.

python benchmarks/training_loop.py [--steps 12] [--batch 8] [--identities 32] [--threads 1]

Both loops train `mini`'s UNet from scratch on the same rendered people. "Outside" is the share of a step that is not forward
and backward of UNet, pose encoder and feature tokens: reading, encoding, optimiser, EMA. Both take turns; medians count.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from diffusers.training_utils import EMAModel

from imagpose.data.rendered import prepare_people
from imagpose.training.denoiser import DenoiserStage
from imagpose.training.denoiser.cache import build_cache
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.networks import build_pipeline

HEIGHT, WIDTH = 128, 96


def build(folder: Path, batch: int, cached: bool) -> DenoiserStage:
    """The stage on the prepared people, as a run builds it."""
    data = {"dataset": str(folder / "people"), "height": HEIGHT, "width": WIDTH}
    config = DenoiserConfig.model_validate(
        {
            "output": str(folder / "run"),
            "data": data | ({"cache": str(folder / "cache")} if cached else {}),
            "batch_size": batch,
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


def measure(folder: Path, steps: int, batch: int, identities: int) -> tuple[dict[str, float], dict[str, float]]:
    """Of both loops, with caches first: canvases per second, and the share of a step outside the networks."""
    prepare_people(0, identities, 8, HEIGHT, WIDTH, folder / "people")
    loops = {
        title: Loop(build(folder, batch, cached), batch)
        for title, cached in (("with caches", True), ("pictures encoded in every step", False))
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
    """Print one line per loop and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--identities", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        rates, outside = measure(Path(name), arguments.steps, arguments.batch, arguments.identities)
    print(
        f"{platform.machine()}, {arguments.threads} thread(s), bf16 autocast, 2x2 canvases of {HEIGHT}x{WIDTH} views,"
        f" batch {arguments.batch}, medians of {arguments.steps} steps"
    )
    for title, rate in rates.items():
        print(f"{title:32s} {rate:5.1f} canvases/s, outside the networks {outside[title]:.1%}")
    first, second = rates.values()
    print(f"ratio {first / second:.2f}")


if __name__ == "__main__":
    main()
