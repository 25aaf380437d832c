"""Who a picture shows, as a vector: pictures of one person lie close together. Source: own."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from imagpose.judges.shipped import Judge, load_judge, working_batches
from imagpose.judges.silhouette import find_foreground

IDENTITY_WEIGHTS = Path(__file__).parent / "weights" / "identity.safetensors"
_CHANNELS = (48, 96, 144, 192)
_WIDTH = 128


class IdentityNetwork(Judge):
    """A small residual network, pixels (b, 3, H, W) in [-1, 1] to embeddings (b, 128) of length 1."""

    def __init__(self, height: int = 256) -> None:
        super().__init__(height)
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
        output: torch.Tensor = self.skip(hidden) + self.inner(hidden)
        return output


@cache
def load_identity_network() -> IdentityNetwork:
    """The network with the weights that ship with the package."""
    return load_judge(IdentityNetwork, IDENTITY_WEIGHTS)


def embed_people(pictures: np.ndarray) -> np.ndarray:
    """What tells people apart: float32 (n, 128), of length 1.

    Only the person is looked at: the ground, which all views of a shoot share, is replaced by grey where
    `find_foreground` sees nobody.

    Args:
        pictures: uint8 (n, H, W, 3); looked at in the height that the network was trained at.
    """
    network = load_identity_network()
    alone = np.where(find_foreground(pictures)[..., None], pictures, np.uint8(128))
    found = []
    for pixels in working_batches(alone, network.height):
        with torch.inference_mode():
            found.append(network(pixels).numpy())
    return np.concatenate(found) if found else np.zeros((0, _WIDTH), np.float32)


def first_ranks(
    queries: np.ndarray, wanted: np.ndarray, gallery: np.ndarray, owners: np.ndarray, left_out: np.ndarray
) -> np.ndarray:
    """Whether the gallery's nearest picture to each query shows the person that is wanted (rank-1).

    Args:
        queries: (n, d), of length 1; nearness is their cosine.
        wanted: (n,) the identity of each query.
        gallery: (m, d), of length 1; owners: (m,) their identities.
        left_out: bool (n, m), pictures that do not count for a query.

    Returns:
        bool (n,).
    """
    nearness = np.where(left_out, -np.inf, queries @ gallery.T)
    right: np.ndarray = owners[nearness.argmax(axis=1)] == wanted
    return right
