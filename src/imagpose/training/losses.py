"""Losses of reconstructions that need no downloaded network."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

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
