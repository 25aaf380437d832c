"""The losses of the strong baseline beside torch's own cross-entropy: hardest triplets of a batch, centres."""

from __future__ import annotations

import torch
from torch import nn

_CENTRE_RATE = 0.5  # of the centres' own gradient descent


def batch_hard_triplet(features: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Mean over the batch of max(0, margin + distance to the furthest picture of the same identity - to the nearest other).

    Args:
        features: float32 (b, d).
        labels: int (b,), of at least two identities.
        margin: in units of the Euclidean distance.

    Source: Hermans et al., "In defense of the triplet loss for person re-identification", 2017, eq. 5.
    """
    # Not from a product of matrices: bf16 autocast rounds it, and distances are small differences of its large numbers.
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None]
    furthest = distances.masked_fill(~same, -torch.inf).amax(dim=1)
    nearest = distances.masked_fill(same, torch.inf).amin(dim=1)
    return (furthest - nearest + margin).relu().mean()


class CentreLoss(nn.Module):
    """Squared distance of features to the centre of their identity, mean over the batch.

    The centres are buffers, which in training descend their own gradient (rate 0.5, not scaled by the loss's weight).
    Source: Wen et al., "A discriminative feature learning approach for deep face recognition", 2016; as the strong
    baseline has it, without the factor 1/2.
    """

    centres: torch.Tensor

    def __init__(self, identities: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.randn(identities, width))

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Features (b, d) and labels (b,) to the loss."""
        loss = (features - self.centres[labels]).square().sum(dim=1).mean()
        if self.training:
            with torch.no_grad():
                towards = (features.detach() - self.centres[labels]) * (2 * _CENTRE_RATE / len(labels))
                self.centres = self.centres.index_add(0, labels, towards.to(self.centres.dtype))
        return loss
