"""The judge of a student's pictures: a small head on frozen features."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from imagpose.metrics.perceptual import stage_features
from imagpose.training.losses import feature_network

_CHANNELS = 16 + 24 + 40 + 112  # of EfficientNet-lite0's stages
_GRID = 2  # the stage at whose size, an eighth of the picture's, all are judged
_WIDTH = 64


class FeatureDiscriminator(nn.Module):
    """Pixels (b, 3, H, W) in [-1, 1] to (b, 1, H / 8, W / 8): positive where a place looks true.

    Its features are frozen, so it cannot win by finding what only a network sees, and few pictures are enough. Source:
    Sauer et al., "Projected GANs converge faster", 2021, smaller; spectral norms as in `PatchDiscriminator`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(_CHANNELS, _WIDTH, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(_WIDTH, 1, 3, padding=1)),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        stages = stage_features(feature_network(pixels.device), pixels)
        size = stages[_GRID].shape[-2:]
        # Of unit length over a stage's channels; times the root of their number a channel is about 1 in size.
        same = [functional.interpolate(own, size, mode="area") * own.shape[1] ** 0.5 for own in stages]
        logits: torch.Tensor = self.layers(torch.cat(same, dim=1))
        return logits
