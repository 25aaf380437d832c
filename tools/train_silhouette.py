"""Trains the segmentation network of `imagpose.evaluation.silhouette` and writes it into the package.

python tools/train_silhouette.py [--identities 300] [--views 4] [--epochs 8]

It sees rendered people of the training split only. Blur, noise and shifted colours are put on, because generated pictures
are softer than rendered ones. The IoU with the renderer's masks on people of the validation split is printed.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from imagpose.evaluation.metrics import mask_iou
from imagpose.evaluation.silhouette import WEIGHTS, WORKING_HEIGHT, SilhouetteNet, find_foreground
from imagpose.people import TRAIN_SEEDS, VALIDATION_SEEDS, iterate_views
from imagpose.training.degrade import degrade

WIDTH = 96
BATCH = 16


def render(seeds: range, views: int, workers: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (n, H, W, 3) and masks bool (n, H, W)."""
    rendered = [view for _, person in iterate_views(seeds, views, WORKING_HEIGHT, WIDTH, workers) for view in person]
    return np.stack([view.picture for view in rendered]), np.stack([view.foreground for view in rendered])


def empty_places(pictures: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Pictures uint8 (n, H, W, 3) that show nobody: the margins of those whose sides are free, laid side by side."""
    places = []
    for width in (8, 12, 16):
        copies = -(-pictures.shape[2] // (2 * width))
        for side in (slice(0, width), slice(-width, None)):
            strips = pictures[~masks[:, :, side].any(axis=(1, 2))][:, :, side]
            pair = np.concatenate([strips, strips[:, :, ::-1]], axis=2)
            places.append(np.tile(pair, (1, 1, copies, 1))[:, :, : pictures.shape[2]])
    return np.concatenate(places)


def with_empty_places(pictures: np.ndarray, masks: np.ndarray, share: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """The same with some pictures that show nobody added, as many as `share` of them."""
    places = empty_places(pictures, masks)
    chosen = places[torch.randperm(len(places)).numpy()[: int(share * len(pictures))]]
    nobody = np.zeros((len(chosen), *masks.shape[1:]), dtype=bool)
    return np.concatenate([pictures, chosen]), np.concatenate([masks, nobody])


def train(pictures: np.ndarray, masks: np.ndarray, epochs: int) -> SilhouetteNet:
    """AdamW with a cosine schedule on the binary cross-entropy of every pixel."""
    network = SilhouetteNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    steps = epochs * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for epoch in range(epochs):
        losses, started = [], time.perf_counter()
        for rows in torch.randperm(len(pictures)).numpy()[: steps // epochs * BATCH].reshape(-1, BATCH):
            pixels = torch.from_numpy(pictures[rows]).movedim(-1, 1).float() / 127.5 - 1
            truth = torch.from_numpy(masks[rows]).float()
            if torch.rand(()) < 0.5:
                pixels, truth = pixels.flip(-1), truth.flip(-1)
            loss = functional.binary_cross_entropy_with_logits(network(degrade(pixels, torch.default_generator)), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}, {seconds:.0f} s", flush=True)
    return network.eval()


def main() -> None:
    """Render, train, write, print what the network is worth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=300)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=None, help="processes that render; default: all cores")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    seeds = TRAIN_SEEDS[: arguments.identities]
    views = with_empty_places(*render(seeds, arguments.views, arguments.workers))
    network = train(*views, arguments.epochs)

    temporary = WEIGHTS.with_suffix(".tmp")
    save_file({name: weight.half() for name, weight in network.state_dict().items()}, temporary)
    os.replace(temporary, WEIGHTS)
    pictures, masks = render(VALIDATION_SEEDS[:40], arguments.views, arguments.workers)
    blurred = degrade(torch.from_numpy(pictures).movedim(-1, 1).float() / 127.5 - 1, torch.default_generator)
    soft = ((blurred + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    for name, seen in (("as rendered", pictures), ("degraded", soft)):
        values = [mask_iou(one, other) for one, other in zip(find_foreground(seen), masks, strict=True)]
        print(f"held-out IoU, {name}: mean {np.mean(values):.4f}, 5th percentile {np.percentile(values, 5):.4f}")


if __name__ == "__main__":
    main()
