"""Which pixels show a person, told from the picture alone, so that generated and rendered people are judged alike.

A generated picture comes without a mask, and its background is the model's own: a textured wall may be shifted against
the true one, so the difference from the empty place says little. Source: own; the shape of the network is U-Net's
(Ronneberger et al., 2015).
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from imagpose.judges.shipped import Judge, ascend, convolutions, descend, load_judge, resize, working_batches
from imagpose.pixels import pad_views

SILHOUETTE_WEIGHTS = Path(__file__).parent / "weights" / "silhouette.safetensors"
_CHANNELS = (16, 32, 56, 80, 96)
_MARGIN = 12  # pixels at the side of a picture, which seldom show the person


class SilhouetteNetwork(Judge):
    """Pixels (b, 3, H, W) in [-1, 1] to logits (b, H, W) of "this pixel shows the person"; any H and W."""

    def __init__(self, height: int = 128) -> None:
        super().__init__(height)
        self.down = nn.ModuleList([convolutions(before, after) for before, after in pairwise((3, *_CHANNELS))])
        self.up = nn.ModuleList([convolutions(wide + narrow, narrow) for narrow, wide in pairwise(_CHANNELS)])
        self.out = nn.Conv2d(_CHANNELS[0], 1, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        padded, padding = pad_views(pixels, 2 ** (len(_CHANNELS) - 1))
        hidden = ascend(self.up, descend(self.down, padded))
        return padding.crop(self.out(hidden))[:, 0]


@cache
def load_silhouette_network() -> SilhouetteNetwork:
    """The network with the weights that ship with the package."""
    return load_judge(SilhouetteNetwork, SILHOUETTE_WEIGHTS)


def find_foreground(pictures: np.ndarray) -> np.ndarray:
    """Pixels that show the person.

    Args:
        pictures: uint8 (n, H, W, 3); looked at in the height that the network was trained at.

    Returns:
        bool (n, H, W).
    """
    network = load_silhouette_network()
    size = pictures.shape[1:3]
    found = []
    for pixels in working_batches(pictures, network.height):
        with torch.inference_mode():
            logits = network(pixels)[:, None].float()
            found.append((resize(logits, size)[:, 0] > 0).numpy())
    return np.concatenate(found) if found else np.zeros((0, *size), dtype=bool)


def soft_iou(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Overlap over union (b,) of masks (b, H, W) with values in [0, 1]; 1 where both are empty."""
    both, either = (one * other).sum(dim=(1, 2)), (one + other - one * other).sum(dim=(1, 2))
    return (both + 1e-3) / (either + 1e-3)


def emptied(pixels: torch.Tensor, foreground: torch.Tensor, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The chosen (b,) pictures (b, 3, H, W) without their person: the left margin and its mirror image, side by side.

    Pictures stay as they are where the person (b, H, W) reaches into the margin.
    """
    width = pixels.shape[-1]
    empty = chosen & ~foreground[..., :_MARGIN].any(dim=(1, 2))
    margin = pixels[..., :_MARGIN]
    place = torch.cat([margin, margin.flip(-1)], dim=-1).repeat(1, 1, 1, -(-width // (2 * _MARGIN)))[..., :width]
    return torch.where(empty[:, None, None, None], place, pixels), foreground & ~empty[:, None, None]
