"""Train the network of `imagpose.pose.retarget` on key points of rendered people, and write its weights.

    python tools/retargeting_train.py --people runs/retargeting --out src/imagpose/pose/weights/retargeting.safetensors

Prints, every 250 steps, the mean error of a joint in hundredths of the body's height on people of the validation split,
after the best shift, and after the best shift and scale. Key points are computed once into --people. The state of the run
is kept there too: the same command goes on with a run that was stopped.

What ships was trained in stretches, each from the last one's weights; in the first, whose lengths were not kept, the network
was smaller and people were a tenth of these. Only the last, 450 steps with a rate up to 7e-4 and seed 101, had `own_change`
in the loss, and what ships is 0.4 of the weights before it plus 0.6 of those after. So one run gives other weights.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors.torch import save_file
from torch.nn import functional

from imagpose.io import partial_file
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
from retargeting_examples import Batch, Groups, load_groups, make_batch

GROUPS, PEOPLE, MOTIONS = 600, 6, 14
VIEW_WIDTH, POSE_WIDTH, LAYERS, BODY, BONES = 256, 256, 3, 64, PATHS.shape[1]
POOL_WIDTH, POOL_LAYERS = 192, 2
VIEWS = (1, 4, 2, 4, 1, 3)  # of the person, batch by batch
EVERY, AVERAGED = 250, 0.995  # steps between reports; of the exponential mean of the weights, which is what is kept
STEPS, BATCH, RATE = 8000, 512, 1.5e-3
OWN_POSE = 0.02  # how much the change of the person's own pose counts
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


def own_change(weights: Weights, batch: Batch, features: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Root mean square move of joints if the driver is the person in the first source, in units of its size."""
    pose = batch.sources[:, 0]
    places = fitted_places(weights, pose, pooled_body(weights, features[:, :1]), own, torch.from_numpy(PATHS))
    found = (pose[..., 2:] > 0).float()
    moves = (places - pose[..., :2]) / normalized(pose)[2]
    moves = moves - (moves * found).sum(1, keepdim=True) / found.sum(1, keepdim=True)
    return ((moves**2 * found).sum() / found.sum() + 1e-7).sqrt()


def loss_of(weights: Weights, batch: Batch) -> torch.Tensor:
    """What is made small: errors of joints, lengths (as each view and all together tell them) and heights; the own change.

    An own pose is seldom drawn as an example, and one view of a bent body says so little of it that four may say another.
    """
    features = seen_features(weights, batch.sources)
    each, own = opinions(weights, features), pooled_body(weights, features)
    other = pooled_body(weights, seen_features(weights, batch.target)[:, None])
    places = fitted_places(weights, batch.target, other, own, torch.from_numpy(PATHS))
    joints = (errors(places, batch, False) + errors(places, batch, True)) / 2
    lengths = length_error(own, batch.lengths) + length_error(other, batch.other_lengths)
    lengths = lengths + 0.3 * length_error(each, batch.lengths[:, None].expand(-1, each.shape[1], -1))
    own_pose = own_change(weights, batch, features, own)
    return joints + 0.02 * lengths + 0.02 * height_error(weights, batch, features) + OWN_POSE * own_pose


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


class Run:
    """A training run; goes on from its file if there is one.

    Attributes:
        step: steps done. averages: exponential means of the weights, which are what is kept.
    """

    def __init__(self, file: Path, steps: int, seed: int) -> None:
        self.file, self.settings, self.step = file, {"steps": steps, "seed": seed}, 0
        self.generator = torch.Generator().manual_seed(seed)
        self.weights = new_weights(self.generator)
        self.averages = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.optimizer = torch.optim.AdamW(self.weights.values(), RATE, betas=(0.9, 0.98), weight_decay=1e-4)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, RATE, steps, pct_start=0.05)
        if file.exists():
            self._restore(torch.load(file, weights_only=True))

    def _restore(self, state: dict[str, Any]) -> None:
        if state["settings"] != self.settings:
            raise ValueError(f"{self.file} is of a run with {state['settings']}, not {self.settings}")
        self.step = state["step"]
        self.generator.set_state(state["generator"])
        for name, weight in self.weights.items():
            weight.data.copy_(state["weights"][name])
        self.averages = state["averages"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def save(self) -> None:
        state = {
            "settings": self.settings,
            "step": self.step,
            "generator": self.generator.get_state(),
            "weights": {name: weight.detach() for name, weight in self.weights.items()},
            "averages": self.averages,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        with partial_file(self.file) as partial:
            torch.save(state, partial)

    def take_step(self, people: Groups) -> None:
        self.step += 1
        batch = make_batch(people, BATCH, VIEWS[self.step % len(VIEWS)], self.generator)
        loss_of(self.weights, batch).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        for name, average in self.averages.items():
            average.lerp_(self.weights[name].detach(), max(1 - AVERAGED, 1 / self.step))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=Path, required=True, help="folder for key points and the state of the run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    people = load_groups(arguments.people / "people-train.safetensors", TRAIN_SEEDS[500_000:], GROUPS, PEOPLE, MOTIONS)
    validation = load_groups(
        arguments.people / "people-validation.safetensors", VALIDATION_SEEDS[5000:], 40, PEOPLE, 12
    )
    judged = make_batch(validation, 4000, 4, torch.Generator().manual_seed(1))
    try:
        run = Run(arguments.people / "training.pt", arguments.steps, arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    while run.step < arguments.steps:
        run.take_step(people)
        if run.step % EVERY == 0 or run.step == arguments.steps:
            print(run.step, report(run.averages, judged), flush=True)
            run.save()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: average.half() for name, average in run.averages.items()}, arguments.out)


if __name__ == "__main__":
    main()
