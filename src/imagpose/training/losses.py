"""Losses of pictures that several stages have."""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn
from torch.func import functional_call

from imagpose.metrics.perceptual import EfficientNetLite0, load_efficientnet

_LEVELS = 3


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
        difference, weights = F.avg_pool2d(difference, 2), F.avg_pool2d(weights, 2)
    return torch.stack(losses).sum() / _LEVELS


def hinge_losses(
    discriminator: nn.Module, truth: torch.Tensor, output: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """-D(y), and relu(1 - D(x)) + relu(1 + D(y)), means over judgements; x are true pictures, y a network's (b, 3, H, W).

    In the first the weights of D are constants, in the second y is one: in their sum each network gets the gradient of
    its own loss only, so that one optimiser serves both.
    """
    constants = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    fooled = -functional_call(discriminator, constants, (output,)).float().mean()
    of_truth, of_output = (discriminator(own).float() for own in (truth, output.detach()))
    return fooled, F.relu(1 - of_truth).mean() + F.relu(1 + of_output).mean()


@lru_cache(maxsize=1)
def feature_network(device: torch.device) -> EfficientNetLite0:
    """EfficientNet-lite0, frozen. A copy, because measures use theirs on the CPU; not to be an attribute of a stage, which
    would train and save it.

    Raises:
        ValueError: see `load_efficientnet`.
    """
    return copy.deepcopy(load_efficientnet()).to(device)
