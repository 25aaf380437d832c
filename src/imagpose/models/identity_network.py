"""Who a picture shows, as a vector: pictures of one person lie close together.

Evaluation uses it; no generator sees it, so a generator cannot have learnt to please it. Source: own.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

__all__ = ["IdentityNetwork"]

_CHANNELS = (48, 96, 144, 192)
_WIDTH = 128


class IdentityNetwork(nn.Module):
    """A small residual network, pixels (b, 3, H, W) in [-1, 1] to embeddings (b, 128) of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _CHANNELS[0], 7, stride=4, padding=3)
        self.blocks = nn.ModuleList([_Residual(a, b) for a, b in pairwise((_CHANNELS[0], *_CHANNELS))])
        self.norm = nn.BatchNorm1d(2 * _CHANNELS[-1])
        self.out = nn.Linear(2 * _CHANNELS[-1], _WIDTH)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(pixels)
        for number, block in enumerate(self.blocks):
            hidden = block(hidden if number == 0 else functional.avg_pool2d(hidden, 2))
        pooled = torch.cat([hidden.mean(dim=(2, 3)), hidden.amax(dim=(2, 3))], dim=1)
        return functional.normalize(self.out(self.norm(pooled)).float(), dim=-1)


class _Residual(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        self.inner = nn.Sequential(
            nn.GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1),
            nn.GroupNorm(8, after), nn.SiLU(), nn.Conv2d(after, after, 3, padding=1),
        )  # fmt: skip

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.skip(hidden) + self.inner(hidden)
