"""Train the network of `imagpose.pose.retarget` on key points of rendered people, and write its weights.

    python tools/retargeting_train.py --people runs/retargeting --out src/imagpose/pose/weights/retargeting.safetensors

Prints, every 250 steps, the mean error of a joint in hundredths of the body's height on people of the validation split,
after the best shift, and after the best shift and scale. Key points are computed once into --people.

What ships was trained in stretches, each from the last one's weights and with another --seed; in the first, whose lengths
were not kept, the network was smaller and people were a tenth of these. So one run gives other weights.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from imagpose.people import TRAIN_SEEDS, VALIDATION_SEEDS
from imagpose.pose.retarget import (
    LENGTH,
    PATHS,
    fitted_places,
    log_height,
    normalized,
    opinions,
    pooled_body,
    seen_features,
)
from retargeting_examples import Batch, load_groups, make_batch

GROUPS, PEOPLE, MOTIONS = 600, 6, 14
VIEW_WIDTH, POSE_WIDTH, LAYERS, BODY, BONES = 256, 256, 3, 64, PATHS.shape[1]
POOL_WIDTH, POOL_LAYERS = 192, 2
VIEWS = (1, 4, 2, 4, 1, 3)  # of the person, batch by batch
EVERY, AVERAGED = 250, 0.995  # steps between reports; of the exponential mean of the weights, which is what is kept
Weights = dict[str, torch.Tensor]


def new_weights(generator: torch.Generator) -> Weights:
    """He's initialization, the added layers at half of it; a new network changes nothing."""
    weights: Weights = {}

    def matrix(name: str, before: int, after: int, scale: float) -> None:
        weights[name] = scale * math.sqrt(2 / before) * torch.randn(before, after, generator=generator)

    def linear(name: str, before: int, after: int, scale: float) -> None:
        matrix(f"{name}.weight", before, after, scale)
        weights[f"{name}.bias"] = torch.zeros(after)

    inputs = {
        "view": {"places": 36, "distances": 153, "found": 18, "confidence": 18},
        "pose": {"places": 36, "distances": 153, "found": 18, "other": BODY, "own": BODY},
        "body": {"mean": BODY, "share": BODY},
    }
    sizes = {"view": (VIEW_WIDTH, LAYERS), "pose": (POSE_WIDTH, LAYERS), "body": (POOL_WIDTH, POOL_LAYERS)}
    for name, (width, layers) in sizes.items():
        for part, size in inputs[name].items():
            matrix(f"{name}.{part}", size, width, 0.5)
        weights[f"{name}.bias"] = torch.zeros(width)
        for layer in range(1, layers):
            linear(f"{name}.{layer}", width, width, 0.5)
    linear("opinion", VIEW_WIDTH, BODY, 0.3)
    linear("weight", VIEW_WIDTH, BODY, 0.3)
    linear("height", VIEW_WIDTH, 1, 0.0)
    linear("change", POSE_WIDTH, BONES + 36, 0.0)
    linear("correction", POOL_WIDTH, BODY, 0.0)
    return {name: weight.requires_grad_() for name, weight in weights.items()}


def old_weights(file: Path) -> Weights:
    """Weights that this tool wrote."""
    return {name: weight.float().requires_grad_() for name, weight in load_file(file).items()}


def errors(places: torch.Tensor, batch: Batch, scaled: bool) -> torch.Tensor:
    """Mean distance of joints relative to the body's height after the best shift, and scale if `scaled`."""
    found = (batch.target[..., 2:] > 0).float()
    count = found.sum(1, keepdim=True)
    ours, truth = ((one - (one * found).sum(1, keepdim=True) / count) * found for one in (places, batch.truth))
    if scaled:
        ours = ours * (ours * truth).sum((1, 2), keepdim=True) / (ours**2).sum((1, 2), keepdim=True)
    squares = ((ours - truth) ** 2).sum(2) / batch.height**2
    return (torch.sqrt(squares + 1e-7) * found[..., 0]).sum() / found.sum()


def length_error(body: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean square error of the logarithms of bones' lengths that bodies (..., 64) say, in units of `LENGTH`."""
    return functional.mse_loss(body[..., :BONES], lengths / LENGTH)


def height_error(weights: Weights, batch: Batch, features: torch.Tensor) -> torch.Tensor:
    """Mean error of the logarithm of the whole person's height in the sources."""
    size = normalized(batch.sources)[2][..., 0]
    return (log_height(weights, features) - torch.log(batch.source_height / size)).abs().mean()


def loss_of(weights: Weights, batch: Batch) -> torch.Tensor:
    """What is made small: errors of joints, of lengths as each view and all together tell them, and of heights."""
    features = seen_features(weights, batch.sources)
    each, own = opinions(weights, features), pooled_body(weights, features)
    other = pooled_body(weights, seen_features(weights, batch.target)[:, None])
    places = fitted_places(weights, batch.target, other, own, torch.from_numpy(PATHS))
    joints = (errors(places, batch, False) + errors(places, batch, True)) / 2
    lengths = length_error(own, batch.lengths) + length_error(other, batch.other_lengths)
    lengths = lengths + 0.3 * length_error(each, batch.lengths[:, None].expand(-1, each.shape[1], -1))
    return joints + 0.02 * lengths + 0.02 * height_error(weights, batch, features)


@torch.no_grad()
def report(weights: Weights, batch: Batch) -> str:
    features = seen_features(weights, batch.sources)
    other = pooled_body(weights, seen_features(weights, batch.target)[:, None])
    tried = {"as it is": batch.target[..., :2]}
    for views in (1, 2, 4):
        own = pooled_body(weights, features[:, :views])
        tried[f"{views} views"] = fitted_places(weights, batch.target, other, own, torch.from_numpy(PATHS))
    said = [
        f"{name} {100 * errors(x, batch, False):.3f} {100 * errors(x, batch, True):.3f}" for name, x in tried.items()
    ]
    known = 1 - length_error(other, batch.other_lengths) / length_error(0 * other, batch.other_lengths)
    return "; ".join([*said, f"log height {height_error(weights, batch, features):.4f}; lengths {known:.2f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=Path, required=True, help="folder for key points")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0, help="another one when going on: its examples are new")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    people = load_groups(arguments.people / "people-train.safetensors", TRAIN_SEEDS[500_000:], GROUPS, PEOPLE, MOTIONS)
    validation = load_groups(
        arguments.people / "people-validation.safetensors", VALIDATION_SEEDS[5000:], 40, PEOPLE, 12
    )
    judged = make_batch(validation, 4000, 4, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(arguments.seed)
    weights = new_weights(generator) if arguments.start is None else old_weights(arguments.start)
    parameters = list(weights.values())
    optimizer = torch.optim.AdamW(parameters, arguments.rate, betas=(0.9, 0.98), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, arguments.steps, pct_start=0.05)
    averages = {name: weight.detach().clone() for name, weight in weights.items()}
    for step in range(1, arguments.steps + 1):
        batch = make_batch(people, arguments.batch, VIEWS[step % len(VIEWS)], generator)
        loss_of(weights, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        for name, average in averages.items():
            average.lerp_(weights[name].detach(), max(1 - AVERAGED, 1 / step))
        if step % EVERY == 0 or step == arguments.steps:
            print(step, report(averages, judged), flush=True)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: average.half() for name, average in averages.items()}, arguments.out)


if __name__ == "__main__":
    main()
