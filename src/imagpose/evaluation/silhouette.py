"""Where the person is in a picture, told from the picture alone, so that generated and rendered ones are judged alike.

A generated picture comes without a mask, and its background is the model's own: a textured wall may be shifted against
the true one, so the difference from the empty place says little. A small segmentation network, trained on rendered
people of the training split (`imagpose train silhouette`), is the fixed rule instead. Source: own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional

from imagpose.models.silhouette_network import SilhouetteNetwork

__all__ = ["WEIGHTS", "find_foreground", "load_silhouette_network"]

WEIGHTS = Path(__file__).parent / "assets" / "silhouette.safetensors"
WORKING_HEIGHT = 128  # pixels; the network was trained on pictures of this height
_BATCH = 32


@cache
def load_silhouette_network() -> SilhouetteNetwork:
    """The network with the weights that ship with the package, in evaluation mode."""
    network = SilhouetteNetwork()
    network.load_state_dict({name: weight.float() for name, weight in load_file(WEIGHTS).items()})
    return network.eval().requires_grad_(False)


def find_foreground(pictures: np.ndarray, network: SilhouetteNetwork | None = None) -> np.ndarray:
    """Pixels that show the person.

    Args:
        pictures: uint8 (n, H, W, 3). Where H is not 128 they are looked at in that height, their aspect kept.
        network: the shipped one if not given.

    Returns:
        bool (n, H, W).
    """
    network = load_silhouette_network() if network is None else network
    height, width = pictures.shape[1:3]
    size = WORKING_HEIGHT, max(16, round(width * WORKING_HEIGHT / height))
    found = []
    for start in range(0, len(pictures), _BATCH):
        pixels = torch.tensor(pictures[start : start + _BATCH]).movedim(-1, 1).float() / 127.5 - 1
        with torch.inference_mode():
            logits = network(_resized(pixels, size))[:, None]
            found.append((_resized(logits, (height, width))[:, 0] > 0).numpy())
    return np.concatenate(found) if found else np.zeros((0, height, width), dtype=bool)


def _resized(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(values.shape[-2:]) == size:
        return values
    return functional.interpolate(values, size=size, mode="bilinear", antialias=True, align_corners=False)
