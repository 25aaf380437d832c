"""Losses of pictures that several stages have."""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from imagpose.metrics.perceptual import EfficientNetLite0, load_efficientnet, stage_features

_LEVELS = 3
_FEATURE_CHANNELS = 16 + 24 + 40 + 112  # of EfficientNet-lite0's stages
_JUDGED_STAGE = 2  # all features are judged at the size of this one's, an eighth of the picture's
_DISCRIMINATOR_WIDTH = 64


def weighted_l1(output: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of |output - truth| of two batches of pictures (b, c, H, W); weights (b, 1, H, W)."""
    return ((output - truth).abs().mean(1, keepdim=True) * weights).sum() / weights.sum()


def gradient_loss(output: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """L1 between first differences of two batches of pictures (b, c, H, W), mean over whole, half and quarter size.

    Differences of neighbours weight edges, where a plain L1 is content with a blur; the halvings reach wider edges. With
    weights (b, 1, H, W) it is a weighted mean; a difference has the weight of its left or upper pixel. Source: own.
    """
    losses = []
    difference = output - truth
    weights = torch.ones_like(truth[:, :1]) if weights is None else weights
    for _ in range(_LEVELS):
        for axis in (-1, -2):
            length = difference.shape[axis] - 1
            steps, own = difference.diff(dim=axis).abs().mean(1, keepdim=True), weights.narrow(axis, 0, length)
            losses.append((steps * own).sum() / own.sum())
        difference, weights = functional.avg_pool2d(difference, 2), functional.avg_pool2d(weights, 2)
    return torch.stack(losses).sum() / _LEVELS


def hinge_losses(
    discriminator: nn.Module, truth: torch.Tensor, output: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """-D(y), and relu(1 - D(x)) + relu(1 + D(y)), means over judgements.

    x is what D sees of true pictures, y of a network's: pixels (b, 3, H, W) or features.

    In the first the weights of D are constants, in the second y is one: in their sum each network gets the gradient of
    its own loss only, so that one optimiser serves both.
    """
    constants = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    fooled = -functional_call(discriminator, constants, (output,)).float().mean()
    of_truth, of_output = (discriminator(own).float() for own in (truth, output.detach()))
    return fooled, functional.relu(1 - of_truth).mean() + functional.relu(1 + of_output).mean()


@lru_cache(maxsize=1)
def _feature_network(device: torch.device) -> EfficientNetLite0:
    """EfficientNet-lite0, frozen. A copy, because measures use theirs on the CPU; not to be an attribute of a stage, which
    would train and save it.

    Raises:
        ValueError: see `load_efficientnet`.
    """
    return copy.deepcopy(load_efficientnet()).to(device)


def features_of_both(output: torch.Tensor, truth: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """EfficientNet-lite0's features, see `stage_features`, of a network's pictures (b, 3, H, W) in [-1, 1] and, without
    gradient, of the true ones."""
    network = _feature_network(truth.device)
    with torch.no_grad():
        theirs = stage_features(network, truth)
    return stage_features(network, output), theirs


def joined_features(stages: list[torch.Tensor]) -> torch.Tensor:
    """What `stage_features` gives of b pictures, at the size of one stage: (b, 192, H / 8, W / 8).

    They are of unit length over a stage's channels; times the root of their number a channel is about 1 in size.
    """
    size = stages[_JUDGED_STAGE].shape[-2:]
    return torch.cat([functional.interpolate(own, size, mode="area") * own.shape[1] ** 0.5 for own in stages], dim=1)


class FeatureDiscriminator(nn.Module):
    """`joined_features` to (b, 1, H / 8, W / 8): positive where a place looks true.

    Its features are frozen, so it cannot win by finding what only a network sees, and few pictures are enough. Source:
    Sauer et al., "Projected GANs converge faster", 2021, smaller; spectral norms as in `PatchDiscriminator`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(_FEATURE_CHANNELS, _DISCRIMINATOR_WIDTH, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(_DISCRIMINATOR_WIDTH, 1, 3, padding=1)),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(features)
        return logits
