"""Which pixels show a person, so that outlines of generated people can be compared with the renderer's.

Evaluation uses it; no generator sees it. Source: own; the shape of the network is U-Net's (Ronneberger et al., 2015).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from imagpose.views import pad_views

__all__ = ["SilhouetteNetwork"]

_CHANNELS = (16, 32, 56, 80, 96)


class SilhouetteNetwork(nn.Module):
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
        nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU(),
    )  # fmt: skip
