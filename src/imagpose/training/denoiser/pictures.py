"""Losses of decoded targets, which a blur fails where Eq. 4 is content with one.

With y a decoded prediction of clean latents and x the decoded truth, d the distance in EfficientNet-lite0's features and D a
`FeatureDiscriminator` on the same features, the denoiser gets

    w_f d(y, x) - w_a D(y)    and D    relu(1 - D(x)) + relu(1 + D(y))
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from imagpose.metrics.perceptual import masked_distance
from imagpose.models.autoencoder import decode_latents, spatial_factor
from imagpose.pixels import Padding
from imagpose.training.denoiser.encode import FrozenNetworks
from imagpose.training.losses import features_of_both, hinge_losses, joined_features
from imagpose.training.stage import Batch


def decoded_targets(
    frozen: FrozenNetworks,
    clean: torch.Tensor,
    batch: Batch,
    height: int,
    width: int,
    cell_weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first masked slot of each canvas, as predicted and as it is: pixels (b, 3, H, W), about [-1, 1]; their weights.

    Args:
        frozen: whose decoder is taken.
        clean: (b, v, c, h, w) predicted clean latents.
        batch: its ``latents`` and ``mask``.
        height, width: of a view, without its padding.
        cell_weights: (b, v, h, w), see `person_weights`; None: all 1.

    Returns:
        Predicted and true pixels, and weights (b, H, W): those of the cell that a pixel lies in.
    """
    canvases, slots = torch.arange(len(clean), device=clean.device), batch["mask"].argmin(dim=1)
    vae, padding = frozen.vae.to(clean.device), Padding.to_multiple(height, width, frozen.view_multiple)
    output = padding.crop(decode_latents(vae, clean[canvases, slots])).float()
    with torch.no_grad():
        truth = padding.crop(decode_latents(vae, batch["latents"][canvases, slots])).float()
    if cell_weights is None:
        return output, truth, torch.ones_like(truth[:, 0])
    weights = functional.interpolate(cell_weights[canvases, slots][:, None], scale_factor=spatial_factor(vae))
    return output, truth, padding.crop(weights)[:, 0]


def picture_losses(
    output: torch.Tensor,
    truth: torch.Tensor,
    weights: torch.Tensor,
    feature_weight: float,
    discriminator: nn.Module | None,
    adversarial_weight: float,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The sum of the losses above, and each without its weight; arguments as `decoded_targets` returns them.

    The weights of pixels are d's: a judgement of D sees more than its place.
    """
    loss, scalars = output.new_zeros(()), {}
    ours, theirs = features_of_both(output, truth)
    if feature_weight:
        scalars["features"] = masked_distance(ours, theirs, weights).mean()
        loss = loss + feature_weight * scalars["features"]
    if discriminator is not None:
        fooled, judged = hinge_losses(discriminator, joined_features(theirs), joined_features(ours))
        scalars |= {"fooled": fooled, "judged": judged}
        loss = loss + adversarial_weight * fooled + judged
    return loss, {name: value.detach() for name, value in scalars.items()}
