"""Where the person is in a picture, told from the picture alone, so that generated and rendered ones are judged alike.

A generated picture comes without a mask, and its background is the model's own: a textured wall may be shifted against
the true one, so the difference from the empty place says little. A small segmentation network, trained by
`tools/train_silhouette.py` on rendered people of the training split, is the fixed rule instead. Source: own; the shape
of the network is U-Net's (Ronneberger et al., 2015).
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from imagpose.views import pad_views

__all__ = ["WEIGHTS", "SilhouetteNet", "find_foreground", "load_silhouette_net"]

WEIGHTS = Path(__file__).parent / "assets" / "silhouette.safetensors"
WORKING_HEIGHT = 128  # pixels; the network was trained on pictures of this height
_CHANNELS = (8, 16, 32, 48)
_BATCH = 32


class SilhouetteNet(nn.Module):
    """Pixels (b, 3, H, W) in [-1, 1] to logits (b, H, W) of "this pixel shows the person"; any H and W."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(before, after) for before, after in pairwise((3, *_CHANNELS))])
        self.up = nn.ModuleList([_block(wide + narrow, narrow) for narrow, wide in pairwise(_CHANNELS)])
        self.out = nn.Conv2d(_CHANNELS[0], 1, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden, padding = pad_views(pixels, 2 ** (len(_CHANNELS) - 1))
        levels = []
        for number, block in enumerate(self.down):
            hidden = block(hidden if number == 0 else functional.max_pool2d(hidden, 2))
            levels.append(hidden)
        for block, level in zip(reversed(self.up), levels[-2::-1], strict=True):
            wide = functional.interpolate(hidden, scale_factor=2, mode="bilinear", align_corners=False)
            hidden = block(torch.cat([wide, level], dim=1))
        return padding.crop(self.out(hidden))[:, 0]


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(4, after), nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(4, after), nn.SiLU(),
    )  # fmt: skip


@cache
def load_silhouette_net() -> SilhouetteNet:
    """The network with the weights that ship with the package, in evaluation mode."""
    network = SilhouetteNet()
    network.load_state_dict({name: weight.float() for name, weight in load_file(WEIGHTS).items()})
    return network.eval().requires_grad_(False)


def find_foreground(pictures: np.ndarray, network: SilhouetteNet | None = None) -> np.ndarray:
    """Pixels that show the person.

    Args:
        pictures: uint8 (n, H, W, 3). Where H is not 128 they are looked at in that height, their aspect kept.
        network: the shipped one if not given.

    Returns:
        bool (n, H, W).
    """
    network = load_silhouette_net() if network is None else network
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
